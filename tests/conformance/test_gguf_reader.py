"""Our reader of GGUF headers against the files that the reference package writes."""

from pathlib import Path

import numpy as np
import pytest

from functions.download.gguf import read
from tests.unit.weight_files import drive


def test_a_file_of_the_gguf_package_is_read(tmp_path: Path) -> None:
    """As its writer lays it out, with a quantised tensor."""
    package = pytest.importorskip("gguf", reason="the gguf package comes with the engine")
    writer = package.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_block_count(3)
    writer.add_token_list([f"token{n}" for n in range(5000)])
    writer.add_tensor("norm", np.ones(48, np.float32))
    quantised = package.quants.quantize(np.ones((3, 64), np.float32), package.GGMLQuantizationType.Q8_0)
    writer.add_tensor("up", quantised, raw_dtype=package.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = (tmp_path / "m.gguf").read_bytes()
    summary = drive(read(len(content)), content).summary()
    assert summary.keys["llama.block_count"] == 3
    assert summary.keys["tokenizer.ggml.tokens"] == 5000
    assert summary.bytes == {"F32": 192, "Q8_0": 204}
