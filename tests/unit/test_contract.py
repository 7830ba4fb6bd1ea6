"""The resource contract: numbers computed by hand, refusals with a way out."""

from dataclasses import replace

import pytest

from functions.serve import architecture, contract
from functions.serve.ask import Ask, Card, ModelFacts
from functions.serve.contract import Split
from functions.serve.wayout import Nearest
from tests.unit import serve_models
from tests.unit.serve_models import (
    BERT_BASE,
    DEEPSEEK_V2_LITE,
    GEMMA2_9B,
    GEMMA3_4B,
    LLAMA_3_8B,
    LLAMA_3_8B_FACTS,
    MISTRAL_7B,
    SMOLLM2,
    SMOLLM2_FACTS,
    STRANGER,
    XLM_ROBERTA,
    cpu,
    facts,
    gpu,
)

CALIBRATED = {"quantization_config": {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8}}}


def test_smollm2_on_a_laptop() -> None:
    """Each part, rounded up to a whole MB.

    134,515,008 x 2 bytes; eight requests of 4,096 tokens at 23,040 bytes, and a block of 128 that vLLM keeps; 2,048 x
    (3 x 1,536 + 4 x 576) x 2 bytes, 8 x 8,192 x 64 bytes and 8 x 49,152 x 24 bytes; 1,000 MB of engine.
    """
    verdict = contract.assess(SMOLLM2_FACTS, cpu(4096))
    assert verdict.split == Split(weights_mb=257, kv_cache_mb=723, activations_mb=40, overhead_mb=1000)


def test_the_cache_is_what_running_requests_can_use() -> None:
    """On a CPU memory that no request can ever touch is not taken."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(16384))
    assert (verdict.concurrency, verdict.kv_cache_bytes) == (8, (8 * 4096 + 128) * 23040)


def test_less_memory_means_less_cache() -> None:
    """What is left beside weights, activations and engine is cut into whole blocks of 128 tokens."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1500))
    # 1500 - 1000 - (269,030,016 + 41,943,040) / 2**20 = 203.4 MB: 72 blocks of 2.8125 MB, of which one is never used.
    assert (verdict.fits, verdict.kv_tokens, verdict.concurrency) == (True, 72 * 128, 2)


def test_a_shorter_context_is_chosen_when_nobody_asked_for_one() -> None:
    """Room for eleven blocks serves 1,280 tokens instead of refusing."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1330))
    assert (verdict.fits, verdict.max_model_len) == (True, 1280)


def test_a_refusal_has_the_numbers() -> None:
    """What is needed, of what, and the ways out."""
    verdict = contract.assess(SMOLLM2_FACTS, cpu(1330, max_model_len=8192))
    assert verdict.reason == (
        "1480 MB are needed for 1 x 8192 tokens: weights 257, KV cache 183, activations 40, runtime 1000, "
        "files while starting 0; 1330 MB of the 1330 MB asked for can be used. "
        "What would fit: memory_mb 1536 or max_model_len 1280"
    )


REFUSALS = [
    pytest.param(cpu(1024), Nearest(None, 1536), id="not even weights and engine"),
    pytest.param(cpu(1330, max_model_len=8192), Nearest(1280, 1536), id="a shorter context"),
    pytest.param(cpu(2048, max_model_len=4096, concurrency=64), Nearest(512, 7168), id="too many at once: 64 x 90 MB"),
    pytest.param(
        cpu(1500, staged=True), Nearest(None, 1792, weight_bits=8), id="the files are held beside the weights"
    ),
    pytest.param(cpu(65536, max_model_len=9000), Nearest(8192, 65536), id="longer than the model was trained for"),
]


@pytest.mark.parametrize(("ask", "expected"), REFUSALS)
def test_a_refusal_names_the_nearest_that_fits(ask: Ask, expected: Nearest) -> None:
    """And what it names does fit."""
    verdict = contract.assess(SMOLLM2_FACTS, ask)
    assert (verdict.fits, verdict.nearest) == (False, expected)
    nearest = replace(ask, memory_mb=expected.memory_mb, max_model_len=expected.max_model_len or ask.max_model_len)
    assert contract.assess(SMOLLM2_FACTS, nearest).fits


def test_a_refusal_on_a_gpu_names_every_way_out() -> None:
    """More of the same card, a larger card, a smaller cache, smaller weights: each alone is enough."""
    cards = (Card("T4", 15360), Card("L4", 23034), Card("L40S", 46068), Card("H200", 143771))
    ask = gpu(23034, max_model_len=32768, cards=cards, kv_cache_dtypes=("auto", "fp8"))
    nearest = contract.assess(LLAMA_3_8B_FACTS, ask).nearest
    assert nearest is not None
    assert (nearest.gpus, nearest.gpu, nearest.kv_cache_dtype, nearest.weight_bits) == (2, "L40S", "fp8", 8)
    ways = [replace(ask, count=2), replace(ask, memory_mb=46068), replace(ask, kv_cache_dtype="fp8")]
    assert [contract.assess(LLAMA_3_8B_FACTS, way).fits for way in ways] == [True, True, True]


def test_llama_8b_on_an_l4() -> None:
    """Of 90 % of an L4 weights, activations and CUDA leave 2,505 MB: 1,252 blocks of 2 MB, one of which is never used."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, gpu(23034))
    assert (verdict.fits, verdict.max_model_len, verdict.kv_tokens, verdict.tensor_parallel) == (
        True,
        16384,
        1252 * 16,
        1,
    )
    assert (verdict.concurrency, verdict.longest_model_len, verdict.weights_mb) == (1, 1251 * 16, {"BF16": 15317})


PARALLEL = [
    pytest.param(gpu(23034, 4), 1, id="one is enough: the others stay free"),
    pytest.param(gpu(16384, 2), 2, id="weights alone fill a 16 GB card"),
    pytest.param(gpu(23034, 4, max_model_len=131072), 2, id="a long context needs a second"),
    pytest.param(gpu(23034, 4, tensor_parallel=4), 4, id="as asked for"),
]


@pytest.mark.parametrize(("ask", "expected"), PARALLEL)
def test_the_fewest_devices_that_hold_it(ask: Ask, expected: int) -> None:
    """Tensor parallelism grows only as far as the memory asks for."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, ask)
    assert (verdict.fits, verdict.tensor_parallel) == (True, expected)


IMPOSSIBLE = [
    (3, 4, "it cannot cut 32 attention heads, 8 key-value heads, an intermediate size of 14336; possible are 1, 2, 4"),
    (8, 4, "there are 4 devices; possible are 1, 2, 4"),
]


@pytest.mark.parametrize(("size", "count", "why"), IMPOSSIBLE)
def test_an_impossible_tensor_parallel_size_is_refused(size: int, count: int, why: str) -> None:
    """It has to divide what vLLM divides and be at most the devices; the refusal lists what would."""
    verdict = contract.assess(LLAMA_3_8B_FACTS, gpu(80000, count, tensor_parallel=size))
    assert (verdict.fits, verdict.nearest) == (False, None)
    assert verdict.reason == f"tensor_parallel_size {size} is not possible: {why}"


def test_devices_that_share_a_model_pay_for_speaking() -> None:
    """parallel_mb counts only where there is more than one."""
    shares = [contract.assess(LLAMA_3_8B_FACTS, gpu(80000, 2, parallel_mb=512, tensor_parallel=n)) for n in (1, 2)]
    assert [verdict.split.overhead_mb for verdict in shares] == [2048, 2 * (2048 + 512)]


CACHES = [
    pytest.param(LLAMA_3_8B_FACTS, "auto", 131072, id="the model's own precision"),
    pytest.param(LLAMA_3_8B_FACTS, "fp8", 65536, id="fp8 halves it"),
    pytest.param(replace(LLAMA_3_8B_FACTS, config={**LLAMA_3_8B, **CALIBRATED}), "auto", 65536, id="calibrated fp8"),
    pytest.param(
        replace(LLAMA_3_8B_FACTS, config=GEMMA2_9B), "auto", 42 * 8192, id="windows no shorter than the context"
    ),
]


@pytest.mark.parametrize(("model", "dtype", "expected"), CACHES)
def test_the_cache_has_its_own_precision(model: ModelFacts, dtype: str, expected: int) -> None:
    """Asked for, or as the checkpoint was calibrated; a token's share of a request of 4,096."""
    verdict = contract.assess(model, gpu(80000, kv_cache_dtype=dtype, max_model_len=4096, batches=2))
    assert expected <= verdict.kv_bytes_per_token <= expected * 1.005


def test_a_window_makes_room_for_more() -> None:
    """Mistral's 32,768 tokens cost what 6,160 do: the window, a batch, and the blocks where both begin."""
    verdict = contract.assess(facts(MISTRAL_7B, 7_241_732_096), gpu(23034, max_model_len=32768))
    assert verdict.kv_bytes_per_token == 385 * 16 * 131072 // 32768


def test_an_encoder_needs_no_cache_but_takes_texts_whole() -> None:
    """A batch is at least one text of the longest; as many run at once as the engine takes."""
    verdict = contract.assess(facts(BERT_BASE, 109_482_240, "F32"), cpu(2048, max_num_batched_tokens=256))
    assert (verdict.fits, verdict.kv_cache_bytes, verdict.max_model_len) == (True, 0, 512)
    assert (verdict.concurrency, verdict.batched_tokens) == (8, 512)


def test_vectors_take_texts_whole_and_sample_nothing() -> None:
    """A decoder that is asked for vectors: its batch grows with the context, and no logits are kept."""
    spoken, embedded = (
        contract.assess(LLAMA_3_8B_FACTS, gpu(80000, max_model_len=2048, embeds=embeds)) for embeds in (False, True)
    )
    assert spoken.split.activations_mb - embedded.split.activations_mb == 256 * 128256 * 16 // 2**20
    longer = contract.assess(LLAMA_3_8B_FACTS, gpu(80000, max_model_len=4096, embeds=True))
    assert (embedded.batched_tokens, longer.batched_tokens) == (2048, 4096)


def test_positions_behind_the_padding_token_do_not_count() -> None:
    """XLM-RoBERTa has 514 positions and reads 512 tokens."""
    assert architecture.read(XLM_ROBERTA).max_position == 512


def test_latent_attention_on_a_cpu_takes_prompts_whole() -> None:
    """VLLM switches chunked prefill off there, so that a batch is as long as the context; a GPU cuts them."""
    model = facts(DEEPSEEK_V2_LITE, 15_706_484_224)
    verdicts = [contract.assess(model, ask) for ask in (cpu(65536, max_model_len=8192), gpu(81559, max_model_len=8192))]
    assert [verdict.batched_tokens for verdict in verdicts] == [8192, 2048]


def test_scaled_positions_count_once() -> None:
    """Linear scaling multiplies what the field says; YaRN and Llama 3 have put the product there."""
    scaled = {kind: {**LLAMA_3_8B, "rope_scaling": {"rope_type": kind, "factor": 4.0}} for kind in ("linear", "yarn")}
    assert [architecture.read(config).max_position for config in scaled.values()] == [4 * 131072, 131072]


@pytest.mark.parametrize("missing", ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"])
def test_a_config_that_cannot_be_sized_is_refused(missing: str) -> None:
    """A guess would be worse than a refusal that names the field."""
    config = {name: value for name, value in SMOLLM2.items() if name != missing}
    verdict = contract.assess(ModelFacts(config, 10, {}), cpu(4096))
    assert (verdict.fits, verdict.nearest) == (False, None)
    assert verdict.reason.endswith(f"config.json has no usable {missing!r}")


@pytest.mark.parametrize("value", [0, -1, "30", True, None, 1.5, [30]])
def test_a_lying_config_is_refused(value: object) -> None:
    """Numbers that are none never reach the arithmetic."""
    verdict = contract.assess(ModelFacts({**SMOLLM2, "num_hidden_layers": value}, 10, {}), cpu(4096))
    assert verdict.fits is False


LIES = [
    0,
    -1,
    "30",
    True,
    None,
    1.5,
    [30],
    {},
    [],
    "",
    2**31,
    2**32 + 1,
    10**30,
    1e308,
    {"factor": 1e308, "type": "linear"},
]
CONFIGS = {name: config for name, config in vars(serve_models).items() if name.isupper() and isinstance(config, dict)}


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if "architectures" in config])
def test_no_lie_in_a_config_breaks_the_contract(name: str) -> None:
    """Every field of every model with every kind of wrong value: there is a verdict, and soon."""
    config = CONFIGS[name]
    more = (
        "layer_types",
        "rope_scaling",
        "sliding_window",
        "text_config",
        "quantization_config",
        "head_dim",
        "pad_token_id",
    )
    for field in {*config, *more}:
        for lie in LIES:
            told = {**config, field: lie}
            assert isinstance(contract.assess(ModelFacts(told, 10**10, {"BF16": 5 * 10**9}), gpu(23034, 2)).fits, bool)


def test_more_layers_than_any_model_has_are_not_believed() -> None:
    """The pool would have as many groups."""
    verdict = contract.assess(
        ModelFacts({**GEMMA3_4B["text_config"], **SMOLLM2, "num_hidden_layers": 2**30}, 1, {}), cpu(4096)
    )
    assert verdict.reason.endswith("config.json claims 1073741824 layers, and 1024 are the most that is believed")


def test_an_unknown_architecture_states_its_bound() -> None:
    """The verdict says what was assumed."""
    verdict = contract.assess(facts(STRANGER, 8_030_261_248), gpu(80000))
    (assumption,) = verdict.assumptions
    assert assumption.startswith("StrangerForCausalLM is not a known architecture: every attention head of every layer")


def test_what_is_not_counted_is_said() -> None:
    """A model that also sees, or that predicts several tokens, says what the numbers leave out or put in."""
    shapes = [architecture.read(config) for config in (GEMMA3_4B, {**SMOLLM2, "num_nextn_predict_layers": 1})]
    assert [shape.assumptions for shape in shapes] == [
        ("pictures and sound take activations of their own, which are not counted",),
        ("layers that predict several tokens are counted although vLLM leaves them out",),
    ]


def test_the_language_part_of_a_model_that_sees_is_sized() -> None:
    """Multimodal configs keep it under `text_config`."""
    nested = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": SMOLLM2}
    assert architecture.read(nested).layers == 30
