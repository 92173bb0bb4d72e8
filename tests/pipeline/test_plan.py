from overwinter.pipeline.plan import _changed_parameters, _differences, _own_reasons


def test_differences_name_the_leaf_with_old_and_new_value():
    assert _differences("train", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}) == ["train.b.c: 2 -> 3"]
    assert _differences("train", {"a": 1}, {"b": 1}) == ["train.a: 1 -> none", "train.b: none -> 1"]
    assert _differences("x", [1], [1, 2]) == ["x: [1] -> [1, 2]"]


def test_only_declared_parameters_count_and_the_whole_file_counts_all():
    locked = {"params": {"params.yaml": {"train": {"epochs": 1}, "data.root": "x"}}}
    now = {"train": {"epochs": 1}, "data": {"root": "y"}, "other": 2}
    assert _changed_parameters(["train"], locked, now) == []
    assert _changed_parameters(["data.root"], locked, now) == ['data.root: "x" -> "y"']
    whole = {"params": {"params.yaml": {"train": {"epochs": 1}, "other": 1, "data": {"root": "y"}}}}
    assert _changed_parameters([{"params.yaml": None}], whole, now) == ["other: 1 -> 2"]


def _reasons(changed, **stage):
    stage = {"cmd": "python a.py", "deps": ["a.py", "outputs/b/model"], "outs": ["outputs/c"], **stage}
    locked = {"cmd": "python a.py", "deps": [{"path": "a.py"}, {"path": "outputs/b/model"}]}
    return _own_reasons(stage, locked, changed, {}, {"outputs/b/model": "b"})


def test_files_count_by_content_and_results_of_other_stages_do_not():
    assert _reasons({}) == []
    assert _reasons({"a.py": "modified", "outputs/b/model": "modified"}) == ["a.py is modified"]
    assert _reasons({"outputs/c": "deleted"}) == ["outputs/c is deleted"]


def test_a_new_command_or_dependency_is_a_reason():
    assert _reasons({}, cmd="python b.py") == ["its command is now `python b.py`"]
    assert _reasons({}, deps=["a.py", "new.csv"]) == ["new.csv is a new dependency"]
    assert _own_reasons({}, None, {}, {}, {}) == ["has not run yet"]


def test_settings_that_another_choice_brings_along_are_counted():
    old = {"version": 1, "methods": [], "only": 1}
    new = {"version": 2, "methods": ["int8_static"], "samples": 256, "skip": []}
    assert _differences("quantize", old, new) == [
        "quantize.version: 1 -> 2",
        'quantize.methods: [] -> ["int8_static"]',
        "quantize.only: 1 -> none",
        "quantize: 2 more settings",
    ]
    assert _differences("quantize", new, old)[-1] == "quantize: 2 fewer settings"
