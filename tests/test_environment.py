"""The two lists of dependencies agree, and the lock satisfies them."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement

from wavelab.paths import ROOT

CONDA_NAMES = {"pytorch": "torch"}


def _project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _declared():
    project = _project()
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["course"], *extras["test"], *extras["medical"]]
    return [Requirement(line) for line in listed]


def _conda():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    requirements = [Requirement(line) for line in [*(e for e in listed if isinstance(e, str)), *pip]]
    return {CONDA_NAMES.get(r.name, r.name).lower(): str(r.specifier) for r in requirements if r.name != "pip"}


def test_conda_and_pip_agree():
    declared = {r.name.lower(): str(r.specifier) for r in _declared()}
    declared["python"] = _project()["requires-python"]
    assert _conda() == declared


def test_lock_satisfies_the_bounds():
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for requirement in _declared():
        version = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} but the lock has {version}"


def test_fixed_names_are_there():
    names = "jupyterlab jupytext torch pywavelets ptwt matplotlib scikit-image papermill nbval trimesh"
    assert set(names.split(" ")) <= {r.name.lower() for r in _declared()}


def test_torchvision_stays_out():
    assert "torchvision" not in (ROOT / "requirements.lock").read_text()
