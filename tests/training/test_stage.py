"""The stage program `train`, on small models of Hugging Face and text, without DVC."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from overwinter import models
from overwinter.config import Project
from overwinter.config.composition import compose
from overwinter.config.validation import validate
from overwinter.errors import ConfigError
from overwinter.records import to_json
from tests.support.gguf_files import write_gguf

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")
tokenizers = pytest.importorskip("tokenizers")

ROOT = Path(__file__).parents[2]
SIZES = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
QUICK = ["train.epochs=1", "train.batch_size=2", "evaluate.runtimes=[torch]", "threads=1"]
TEXTS = """
import torch
from torch.utils.data import Dataset


class Samples(Dataset):
    def __init__(self, count, seed):
        made = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(2, 40, (count, 6), generator=made)
        self.mask = torch.ones_like(self.ids)
        self.mask[::2, 4:] = 0

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        ids = self.ids[index]
        return {"input_ids": ids, "attention_mask": self.mask[index]}, int(ids[0] > 20)


class Data:
    labels = ("calm", "storm")
    preprocessing = {}

    def split(self, name):
        return Samples(*{"train": (16, 1), "validation": (8, 2), "test": (8, 3)}[name])
"""


class Stage:
    """The part of `overwinter.pipeline.Stage` that the program uses."""

    name = "train"
    ranks, is_main, control = None, True, None

    def __init__(self, folder, config):
        self.folder, self.config, self.checkpoints = folder, config, folder / "checkpoints"
        self.lines, self.metrics = [], {}
        self.meter = SimpleNamespace(read=lambda: SimpleNamespace(energy_j=time.process_time()))

    def out(self, name="model"):
        return self.folder / "out" / name

    def lineage(self):
        return {}

    def progress(self, done, total, **figures):
        assert done <= total

    unsaved_progress = progress

    def spent_j(self):
        return 0.0

    def log(self, text):
        self.lines += text.splitlines()

    def save_metrics(self, metrics):
        self.metrics = to_json(metrics)


def run(folder, *overrides):
    project = Project(root=ROOT, configs=ROOT / "configs", config_name="config")
    stage = Stage(folder, validate(compose(project, [*QUICK, *overrides])))
    if "trusted_targets=[texts_for_bert]" in overrides:
        stage.config.data = {"_target_": "texts_for_bert.Data"}
    spec = importlib.util.spec_from_file_location("train", ROOT / "stages" / "train.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main(stage)
    return stage


@pytest.fixture
def llama(tmp_path):
    """A language model and a tokenizer of single letters, and texts to read."""
    torch.manual_seed(0)
    folder = tmp_path / "llama"
    sizes = SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 64, "eos_token_id": 1}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).save_pretrained(folder)
    letters = {letter: at for at, letter in enumerate("?$abcdefghijklmnopqrstuvwxyz .,")}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="$", unk_token="?")
    fast.save_pretrained(folder)
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("the cold months are long, and the bear sleeps. "[number:] * 3)
    return [
        *("pipeline=language", "model=huggingface", f"model.root={folder}", "task=language_modeling", "data=text"),
        *(f"data.root={tmp_path}", 'data.paths=["*.txt"]', "data.length=16", "sparsify=none", "evaluate=language"),
        *("data.validation_share=0.2", "data.windows={train: 4, validation: 2, test: 3}", "evaluate.prompt_tokens=8"),
        *("quantize=int8_weight_only", "evaluate.written_tokens=2", "budget.payback.stages=[quantize]"),
    ]


@pytest.fixture
def bert(tmp_path, monkeypatch):
    """Overrides for an encoder without a head, and texts of two classes."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, max_position_embeddings=16)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    (tmp_path / "texts_for_bert.py").write_text(TEXTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "texts_for_bert", raising=False)
    head = "model.head=sequence_classification"
    return [
        *("model=huggingface", f"model.root={tmp_path / 'bert'}", head, "model.classes=2", "sparsify=none"),
        *("trusted_targets=[texts_for_bert]", "quantize=none", "pipeline.code=[stages]"),
    ]


def test_a_pretrained_language_model_is_taken_with_its_tokenizer(tmp_path, llama):
    stage = run(tmp_path, *llama, "train=pretrained")
    assert stage.metrics["perplexity"] > 1
    assert not {"origin", "epochs"} & set(stage.metrics)  # its weights are its own
    model = models.load_model(stage.out(), trusted=[])
    assert torch.equal(model.network.lm_head.weight, models.pretrained(root=llama[2][11:]).network.lm_head.weight)
    assert models.pretrained_tokenizer(str(stage.out("tokenizer"))).decode([2, 3]).replace(" ", "") == "ab"
    assert any("perplexity" in line and "with the weights as they came" in line for line in stage.lines)
    assert models.find_variants({"train/given": stage.out("given")}) == {}


def test_the_file_that_a_model_came_in_is_kept_beside_it(tmp_path, llama):
    path = write_gguf(tmp_path / "of_a_user.gguf")
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("THECOLDMONTHSARELONGANDTHEBEARSLEEPS."[number:] * 5)
    of_the_file = (f"model.root={path}", f"data.tokenizer={path}")
    stage = run(tmp_path, *llama, "train=pretrained", *of_the_file)
    variants = models.find_variants({"train": stage.out(), "train/given": stage.out("given")})
    assert list(variants) == ["dense", "input_file", "as_given"]
    assert (variants["as_given"] / "model.gguf").read_bytes() == path.read_bytes()
    fitted = run(tmp_path / "fitted", *llama, *of_the_file)
    assert models.find_variants({"train/given": fitted.out("given")}) == {}


def test_a_language_model_is_fine_tuned(tmp_path, llama):
    stage = run(tmp_path, *llama, "train.learning_rate=0.01", "train.warmup_fraction=0")
    before = run(tmp_path / "as it is", *llama, "train=pretrained")
    assert stage.metrics["loss"] < before.metrics["loss"]
    assert stage.metrics["epochs"] == 1
    assert stage.out("tokenizer").is_dir()


def test_an_encoder_is_fine_tuned_with_a_new_head(tmp_path, bert):
    stage = run(tmp_path, *bert)
    description = models.load_description(stage.out())
    assert models.signature_of(description).names == ("input_ids", "attention_mask")
    assert description["model"]["_target_"] == "overwinter.models.PretrainedModel"
    model = models.load_model(stage.out(), trusted=[])
    assert model({"input_ids": torch.ones(3, 5, dtype=torch.int64)}).shape == (3, 2)
    assert stage.metrics["headline"] == "accuracy"


def test_a_classifier_is_taken_as_it_is(tmp_path, bert):
    classifier = tmp_path / "classifier"
    stage = run(tmp_path, *bert, "train=pretrained", f"model.root={classifier}", "model.classes=null")
    assert 0 <= stage.metrics["accuracy"] <= 1

    config = json.loads((classifier / "config.json").read_text())
    (classifier / "config.json").write_text(json.dumps(config | {"id2label": {"0": "storm", "1": "calm"}}))
    with pytest.raises(ConfigError, match=r"classes are storm, calm, and the data's labels calm, storm"):
        run(tmp_path, *bert, "train=pretrained", f"model.root={classifier}", "model.classes=null")


def test_a_head_that_was_just_drawn_is_not_taken_as_it_is(tmp_path, bert):
    with pytest.raises(ConfigError, match=r"just drawn: classifier.bias, classifier.weight.\nSet train.method=fit"):
        run(tmp_path, *bert, "train=pretrained")


def test_a_model_for_another_number_of_classes_is_told(tmp_path, bert):
    config = transformers.BertConfig(**SIZES, max_position_embeddings=16, num_labels=3)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"In evaluation mode: The model returns \[1, 3\] .* data names 2 classes"):
        run(tmp_path, *bert, "train=pretrained", f"model.root={tmp_path / 'other'}", "model.classes=null")


@pytest.mark.parametrize("name", ["evaluate.runtimes=[torch-bf17]", "quantize.methods=[int4_gtpq]"])
def test_unknown_names_are_found_before_the_model_is_read(tmp_path, llama, name):
    with pytest.raises(ConfigError, match="is unknown"):
        run(tmp_path, *llama, "model.root=/nowhere", "data.tokenizer=/nowhere", name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_before_the_model_is_read(tmp_path, llama):
    with pytest.raises(ConfigError, match="which cannot compute on device=cuda:0: torch can use 0 CUDA devices"):
        run(tmp_path, *llama, "model.root=/nowhere", "device=cuda:0", "quantize=none")


def test_training_sparse_from_the_start_reports_its_zeros_and_operations(tmp_path):
    stage = run(tmp_path, "train=rigl", "sparsify=none", "train.batch_size=256", "train.sparse.skip=[head]")
    assert stage.metrics["sparsity"] == pytest.approx(0.9, abs=0.02)
    assert 0.1 < stage.metrics["training_flops"] / stage.metrics["training_flops_dense"] < 0.6
    assert "keeps all weights: head: named in train.sparse.skip" in stage.lines
    description = models.load_description(stage.out())
    assert stage.metrics["size_bytes"] < 0.5 * models.unpacked_bytes(description)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft reads it
def test_a_language_model_learns_by_adapters_and_is_saved_merged(tmp_path, llama):
    peft = pytest.importorskip("peft", reason="the extra lora is not installed")
    outs = "pipeline.stages.train.outs=[model,tokenizer,given,adapters]"
    stage = run(tmp_path, *llama, "train=lora", "train.lora.rank=2", "train.learning_rate=0.05", outs)
    root = llama[2].removeprefix("model.root=")
    assert stage.metrics["trained_parameters"] < stage.metrics["parameters"] / 2
    model = models.load_model(stage.out(), trusted=[])
    given = models.pretrained(root=root)
    assert list(model.state_dict()) == list(given.state_dict())
    assert torch.equal(model.network.model.norm.weight, given.network.model.norm.weight)
    tokens = torch.arange(8)[None]
    alone = peft.PeftModel.from_pretrained(given.network, stage.out("adapters")).eval()
    assert torch.allclose(model(tokens), alone(tokens).logits, atol=1e-4)
    assert not torch.allclose(model(tokens), models.pretrained(root=root)(tokens), atol=1e-3)
    assert "has no adapter: network.model.embed_tokens: Embedding is neither Linear nor a convolution" in stage.lines


def test_an_encoder_learns_by_adapters_with_a_new_head(tmp_path, bert):
    pytest.importorskip("peft", reason="the extra lora is not installed")
    stage = run(tmp_path, *bert, "train=lora", 'train.lora.targets=["*.query", "*.value"]')
    saved = models.load_model(stage.out(), trusted=[]).state_dict()
    given = transformers.AutoModel.from_pretrained(tmp_path / "bert").state_dict()
    changed = {name for name, tensor in given.items() if not torch.equal(saved[f"network.bert.{name}"], tensor)}
    assert {name.split(".")[-2] for name in changed if "pooler" not in name} == {"query", "value"}
    assert "has no adapter: network.classifier: it is trained whole" in stage.lines


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.method=pretrained"], r"train.lora trains adapters, and train.method=pretrained trains nothing"),
        (["train.shrink={amount: 0.5, at: [0.1]}"], r"train.shrink changes layers that train.lora keeps frozen"),
        (["+train.sparse={amount: 0.9}"], r"train.sparse and train.lora cannot be trained together"),
        (["+train.qat={rounding: straight_through}"], r"train.lora keeps the layers frozen that train.qat trains"),
    ],
)
def test_what_adapters_cannot_be_trained_with_is_refused(tmp_path, bert, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, *bert, "train=lora", *overrides)


def test_adapters_are_refused_beside_random_weights(tmp_path):
    with pytest.raises(ConfigError, match=r"train.lora keeps the weights as they are, and model._target_=overwinter"):
        run(tmp_path, "train=lora")
