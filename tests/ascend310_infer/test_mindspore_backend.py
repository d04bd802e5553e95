"""The MindSpore backend against MindSpore's real C++ library: it compiles, links, starts, and says why it stops."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.ascend310_infer.tiny_models import run, semantic_model

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "ascend310_infer/build/mindspore"
WHEEL = ["mindspore==2.0.0", "--no-deps", "--python-version", "3.9", "--only-binary=:all:", "--platform",
         "manylinux1_x86_64", "--platform", "any"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package() -> Path:
    """Headers and libraries of the last wheel that had them, laid out as MS_LITE_HOME/runtime; downloaded once."""
    runtime = CACHE / "runtime"
    if not runtime.is_dir():
        ran = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *WHEEL, "--dest", CACHE],
                             capture_output=True, text=True)
        if ran.returncode:
            pytest.skip(f"needs the wheel mindspore 2.0.0: {ran.stderr[-300:]}")
        wheel = next(CACHE.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(CACHE, [name for name in archive.namelist() if name.startswith("mindspore/include/")
                                       or (name.startswith("mindspore/lib/") and "/plugin/" not in name)])
        wheel.unlink()
        (CACHE / "mindspore").rename(runtime)
    return runtime


@pytest.fixture(scope="module")
def python_stand_in(package) -> Path:
    """A libpython3.9 with the names that MindSpore's libraries ask for: they are the Python extension as well."""
    folder = CACHE / "stand_in"
    folder.mkdir(exist_ok=True)
    names = set()
    for library in package.glob("lib/libmindspore*.so"):
        undefined = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True).stdout
        names |= {word for word in undefined.split() if word.startswith(("Py", "_Py"))}
    assert len(names) > 50
    source = "".join(f"void *{name}[64];\n" for name in sorted(names))
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", folder / "libpython3.9.so.1.0",
                    "-Wl,-soname,libpython3.9.so.1.0"], input=source, text=True, check=True)
    return folder


def build(package: Path, folder: Path) -> Path:
    """build.sh with `package` as MindSpore's, without OpenVINO: no warning, both calls in the library."""
    ran = subprocess.run([ROOT / "ascend310_infer/build.sh", folder, "-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON"],
                         env=os.environ | {"PYTHON": sys.executable, "MS_LITE_HOME": str(package.parent)},
                         capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "warning:" not in ran.stderr, ran.stderr[-3000:]
    library = folder / "libmindseg_backend_mindspore.so"
    wanted = subprocess.run(["nm", "-u", "-C", library], capture_output=True, text=True, check=True).stdout
    assert "mindspore::Model::Build(" in wanted
    assert "mindspore::Model::Predict(" in wanted
    assert not (folder / "libmindseg_backend_openvino.so").exists()
    return folder / "main"


def old_mindir(path: Path) -> Path:
    """A MindIR of version 1, which this library still reads: y = ReLU(x)."""
    from mindspore.train import mind_ir_pb2 as ir

    model = ir.ModelProto(ir_version="0.1.0", producer_name="MindSpore", model_version="1.1.0", mind_ir_version=1)
    graph = model.graph
    graph.name = "graph"
    for ports, name in ((graph.input, "graph:x"), (graph.output, "graph:y")):
        port = ports.add(name=name)
        port.tensor.add(dims=[1, 3, 65, 65], data_type=ir.TensorProto.DataType.FLOAT)
    graph.node.add(input=["graph:x"], output=["graph:y"], op_type="ReLU", name="graph:y")
    path.write_bytes(model.SerializeToString())
    return path


def test_it_compiles_links_and_says_why_it_does_not_run(package, python_stand_in, tmp_path, monkeypatch):
    program = build(package, CACHE / "build")
    semantic_model(tmp_path)
    model = old_mindir(tmp_path / "model.mindir")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    alone = run(program, model, tmp_path, tmp_path / "r", f"--image_list={tmp_path / 'list'}") if (
        tmp_path / "list").write_text("a.png\n") else None
    assert alone.returncode == 4
    assert "libpython3.9.so.1.0" in alone.stderr
    assert "MS_LITE_HOME" in alone.stderr
    monkeypatch.setenv("LD_LIBRARY_PATH", str(python_stand_in))
    started = run(program, model, tmp_path, tmp_path / "r", f"--image_list={tmp_path / 'list'}")
    assert started.returncode == 4, started.stderr
    assert "Unsupported device target CPU" in started.stderr
    assert "install MindSpore Lite" in started.stderr
    assert ".onnx" in started.stderr
    onnx = run(program, tmp_path / "model.onnx", tmp_path, tmp_path / "r", f"--image_list={tmp_path / 'list'}")
    assert onnx.returncode == 4
    assert "openvino was not built" in onnx.stderr
    assert "PyPI wheel openvino" in onnx.stderr
    (tmp_path / "model.mindir").write_bytes(b"cut")
    cut = run(program, model, tmp_path, tmp_path / "r", f"--image_list={tmp_path / 'list'}")
    assert cut.returncode == 2
    assert "MindSpore cannot load it" in cut.stderr


def test_the_lite_library_is_asked_by_its_own_call(package, tmp_path):
    """The same package under Lite's library name: Model::Build takes the file, no Serialization is linked."""
    runtime = tmp_path / "lite/runtime"
    (runtime / "lib").mkdir(parents=True)
    (runtime / "include").symlink_to(package / "include")
    (runtime / "lib/libmindspore-lite.so").symlink_to(package / "lib/libmindspore.so")
    build(runtime, tmp_path / "build")
    library = tmp_path / "build/libmindseg_backend_mindspore.so"
    wanted = subprocess.run(["nm", "-u", "-C", library], capture_output=True, text=True, check=True).stdout
    assert "Serialization::Load" not in wanted


def test_a_folder_that_is_no_package_is_named(tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    for make, words in ((False, "no MindSpore Lite package"), (True, "no include/api/model.h")):
        if make:
            (tmp_path / "runtime").mkdir()
        ran = subprocess.run([ROOT / "ascend310_infer/build.sh", tmp_path / "build"], capture_output=True, text=True,
                             env=os.environ | {"PYTHON": sys.executable, "MS_LITE_HOME": str(tmp_path)})
        assert ran.returncode != 0
        assert words in " ".join(ran.stderr.split())
