"""Headers of GGUF files: read when they are true, refused when they lie."""

import struct

import pytest

from functions.download.gguf import Header, Tensor, read
from functions.download.steps import InvalidHeader
from tests.unit.weight_files import Info, drive, gguf_array, gguf_file, gguf_key, gguf_text


def header(content: bytes) -> Header:
    """What the reader makes of a whole file."""
    return drive(read(len(content)), content)


def llama(order: str = "<") -> list[bytes]:
    """The keys of a small model with a number of key-value heads per layer, and a vocabulary of 1,000."""
    uint32 = struct.Struct(order + "I").pack
    tokens = b"".join(gguf_text(f"token{n}", order) for n in range(1000))
    return [
        gguf_key("general.architecture", 8, gguf_text("llama", order), order),
        gguf_key("general.alignment", 4, uint32(64), order),
        gguf_key("llama.block_count", 4, uint32(2), order),
        gguf_key("llama.context_length", 10, struct.pack(order + "Q", 2048), order),
        gguf_key("llama.attention.head_count", 4, uint32(9), order),
        gguf_key("llama.attention.head_count_kv", 9, gguf_array(5, 2, uint32(3) + uint32(1), order), order),
        gguf_key("llama.rope.freq_base", 6, struct.pack(order + "f", 1e4), order),
        gguf_key("tokenizer.ggml.tokens", 9, gguf_array(8, 1000, tokens, order), order),
        gguf_key("tokenizer.ggml.scores", 9, gguf_array(6, 1000, bytes(4000), order), order),
        gguf_key("tokenizer.ggml.add_bos_token", 7, b"\1", order),
        gguf_key("tokenizer.chat_template", 8, gguf_text("x" * 5000, order), order),
    ]


@pytest.mark.parametrize(("version", "order", "named"), [(2, "<", "little"), (3, "<", "little"), (3, ">", "big")])
def test_a_model_is_summed_up(version: int, order: str, named: str) -> None:
    """Versions 2 and 3, both byte orders: sizes by name, elements and bytes by type, the length of the vocabulary."""
    infos = [Info("norm", (64,), 0, 0), Info("up", (64, 2), 8, 256)]
    found = header(gguf_file(llama(order), infos, 256 + 136, version=version, order=order, alignment=64))
    summary = found.summary()
    assert found.tensors == (Tensor("norm", "F32", (64,), 0, 256), Tensor("up", "Q8_0", (64, 2), 256, 136))
    assert found.metadata["tokenizer.chat_template"] is None
    assert summary.keys == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.context_length": 2048,
        "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": [3, 1],
        "llama.rope.freq_base": 1e4,
        "tokenizer.ggml.tokens": 1000,
    }
    assert (summary.elements, summary.bytes) == ({"F32": 64, "Q8_0": 128}, {"F32": 256, "Q8_0": 136})
    assert (summary.byte_order, summary.split, summary.splits) == (named, 0, 1)


@pytest.mark.parametrize("padding", [0, 28, 32])
def test_the_last_tensor_is_padded_or_not(padding: int) -> None:
    """Writers differ; more than its padding is a hole at the end."""
    content = gguf_file(infos=[Info(dimensions=(9,))], data_bytes=36 + padding)
    if 36 + padding > 64:  # where the last tensor ends, padded
        with pytest.raises(InvalidHeader, match="declare 36 bytes"):
            header(content)
    else:
        assert header(content).tensors[0].elements == 9


def test_a_file_without_tensors_is_read() -> None:
    """The first of several files may carry the metadata alone."""
    assert header(gguf_file(llama(), alignment=1)).tensors == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "past the end"),
        (b"GGU", "past the end"),
        (b"GGML" + bytes(20), "begin with GGUF"),
        (b"\x80\x04." + bytes(21), "begin with GGUF"),
        (gguf_file(version=1), "version 1"),
        (gguf_file(version=4), "version 4"),
        (gguf_file(version=2, order=">"), "version 2"),
        (gguf_file()[:-9], "past the end"),
        (gguf_file(counts=(0, 1), alignment=1), "past the end"),
        (gguf_file(counts=(1, 0), alignment=1), "past the end"),
        (gguf_file(counts=(1 << 40, 0)), "are the most"),
        (gguf_file(counts=(0, 1 << 40)), "are the most"),
        (gguf_file([gguf_key("", 4, bytes(4))]), "claims 0 bytes"),
        (gguf_file([gguf_key("k" * 2000, 4, bytes(4))]), "claims 2000 bytes"),
        (gguf_file([gguf_key("a\0b", 4, bytes(4))]), "control character"),
        (gguf_file([gguf_key("k", 4, bytes(4)), gguf_key("k", 4, bytes(4))]), "there twice"),
        (gguf_file([gguf_key("k", 13, bytes(4))]), "unknown type 13"),
        (gguf_file([gguf_key("k", 7, b"\2")]), "truth value is 2"),
        (gguf_file([gguf_key("k", 8, gguf_text(b"\xff"))]), "not UTF-8"),
        (gguf_file([gguf_key("k", 8, struct.pack("<Q", 1 << 62))]), "past the end"),
        (gguf_file([gguf_key("k", 9, gguf_array(4, 1 << 40))]), "past the end"),
        (gguf_file([gguf_key("k", 9, gguf_array(8, 1 << 20))]), "past the end"),
        (gguf_file([gguf_key("k", 9, gguf_array(9, 1, gguf_array(4, 0)))]), "elements of the type 9"),
        (gguf_file([gguf_key("general.alignment", 4, struct.pack("<I", 0))]), "alignment 0"),
        (gguf_file([gguf_key("general.alignment", 4, struct.pack("<I", 24))]), "alignment 24"),
        (gguf_file([gguf_key("general.alignment", 4, struct.pack("<I", 1 << 30))]), "alignment"),
        (gguf_file([gguf_key("general.alignment", 8, gguf_text("32"))]), "alignment '32'"),
        (gguf_file(infos=[Info(name="")]), "claims 0 bytes"),
        (gguf_file(infos=[Info(name="n" * 65)]), "claims 65 bytes"),
        (gguf_file(infos=[Info(), Info(offset=128)], data_bytes=256), "there twice"),
        (gguf_file(infos=[Info(dimensions=(1,) * 5)]), "5 dimensions"),
        (gguf_file(infos=[Info(kind=4)], data_bytes=128), "unknown type 4"),
        (gguf_file(infos=[Info(kind=1 << 31)], data_bytes=128), "unknown type"),
        (gguf_file(infos=[Info(dimensions=(33,), kind=8)], data_bytes=128), "whole blocks of Q8_0"),
        (gguf_file(infos=[Info(dimensions=(), kind=8)], data_bytes=128), "whole blocks of Q8_0"),
        (gguf_file(infos=[Info()], data_bytes=127), "declare 128 bytes"),
        (gguf_file(infos=[Info()]), "declare 128 bytes"),
        (gguf_file(data_bytes=64), "declare 0 bytes"),
        (gguf_file(infos=[Info(dimensions=(1 << 63, 1 << 63))], data_bytes=128), "declare"),
        (gguf_file(infos=[Info(offset=32)], data_bytes=160), "hole"),
        (gguf_file(infos=[Info(), Info("v", offset=96)], data_bytes=256), "overlap"),
        (gguf_file(infos=[Info(), Info("v", offset=130)], data_bytes=300), "not aligned"),
        (gguf_file(infos=[Info(), Info("v", offset=192)], data_bytes=320), "hole"),
        (gguf_file(infos=[Info(offset=1 << 63)], data_bytes=128), "hole"),
    ],
)
def test_a_header_that_lies_is_refused(content: bytes, words: str) -> None:
    """Magic, version, counts, names, types, alignment, sizes and places: each lie by its own reason."""
    with pytest.raises(InvalidHeader, match=words):
        header(content)


@pytest.mark.parametrize("cut", range(24, 200, 16))
def test_a_cut_file_is_refused_wherever_it_is_cut(cut: int) -> None:
    """No reading past the end, whatever stands there."""
    content = gguf_file(llama(), [Info(dimensions=(64,))], 256, alignment=64)
    with pytest.raises(InvalidHeader):
        header(content[:cut])
