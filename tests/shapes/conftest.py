"""What several tests of shapes share: a study of chairs on the smoke profile, with folders of its own."""

import pytest

from wavelab import runtime
from wavelab.shapes.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WAVELAB_RUN_DIR", str(tmp_path_factory.mktemp("run")))
        patch.setenv("WAVELAB_DEVICE", "cpu")
        yield Study(runtime.start("20-evaluation", "smoke"), "chair")
