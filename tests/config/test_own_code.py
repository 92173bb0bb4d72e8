"""Where the user's own code is; every file in these tests ends the process if it is run."""

import importlib.machinery
import sys

import pytest

from overwinter.config.own_code import installed_versions, named_targets, own_files


@pytest.fixture
def write(tmp_path):
    """Write files that must never be executed; return the folder."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(f"{text}\nraise SystemExit('was executed')\n")
        return tmp_path

    return write


def found(folder, *targets, search=None, root=None):
    places = own_files(targets, search=search or [str(folder)], root=root or folder)
    return [path.relative_to(folder).as_posix() for path in places]


def package(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise SystemExit('was executed')\n")


def test_targets_are_named_at_any_depth():
    tree = {"_target_": "a.B", "loss": {"_target_": "c.D"}, "many": [{"_target_": "e.F"}], "name": "g"}
    assert list(named_targets(tree)) == ["a.B", "c.D", "e.F"]


def test_a_package_counts_as_a_whole(tmp_path, write):
    package(tmp_path, "mine")
    write(mine__nets__small="")
    assert found(tmp_path, "mine.nets.small.Net", "mine.Data") == ["mine"]


def test_a_module_brings_what_it_imports_of_the_users_own(write):
    folder = write(net="import torch, json, blocks.conv\nfrom helpers import scaled", helpers="", blocks__conv="")
    assert found(folder, "net.Net") == ["net.py", "blocks/conv.py", "helpers.py"]


def test_a_package_without_init_counts_file_by_file(write):
    folder = write(
        mine__deep__net="from . import layers\nfrom ..shared import scale", mine__deep__layers="", mine__shared=""
    )
    write(mine__other="")
    assert found(folder, "mine.deep.net.Net") == ["mine/deep/net.py", "mine/deep/layers.py", "mine/shared.py"]


def test_a_package_that_holds_the_project_counts_file_by_file(tmp_path, write):
    package(tmp_path, "mine")
    write(mine__net="", mine__unused="")
    assert found(tmp_path, "mine.net.Net", root=tmp_path / "mine") == ["mine/__init__.py", "mine/net.py"]


def test_a_file_that_is_no_python_is_left_to_the_stage_that_imports_it(write):
    assert found(write(net="def broken(:"), "net.Net") == ["net.py"]


def test_an_editable_install_is_found_through_its_finder(tmp_path, write, monkeypatch):
    folder = write(src__mine__net="")

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name != "mine":
                return None
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(tmp_path / "src" / "mine")]
            return spec

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert found(folder, "mine.net.Net", search=[str(tmp_path / "elsewhere")]) == ["src/mine/net.py"]


@pytest.mark.parametrize("target", ["torch.nn.Linear", "overwinter.data.Digits", "json.JSONDecoder", "absent_xyz.Net"])
def test_what_is_not_the_users_own_is_no_dependency(tmp_path, target):
    assert found(tmp_path, target) == []
    assert installed_versions([target]) == {}


def test_an_installed_package_is_known_by_its_version(tmp_path, write, monkeypatch):
    site = tmp_path / "site-packages"
    package(site, "wise_nets")
    package(site, "wise_nets_dist")
    (site / "wise_nets-1.5.dist-info").mkdir()
    (site / "wise_nets-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wise-nets\nVersion: 1.5\n")
    (site / "wise_nets-1.5.dist-info" / "top_level.txt").write_text("wise_nets\n")
    monkeypatch.syspath_prepend(str(site))
    assert installed_versions(["wise_nets.Net", "wise_nets.Data"]) == {"wise_nets": "1.5"}
    assert found(tmp_path, "wise_nets.Net", search=[str(site)]) == []


def test_an_installed_package_without_metadata_is_known_by_its_content(tmp_path, monkeypatch):
    package(tmp_path / "site-packages", "nameless")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    before = installed_versions(["nameless.Net"])
    (tmp_path / "site-packages" / "nameless" / "net.py").write_text("")
    assert len(before["nameless"]) == 64
    assert installed_versions(["nameless.Net"]) != before
