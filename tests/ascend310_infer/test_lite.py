"""The MindSpore backend on the real MindSpore Lite 2.0.0: its CPU runs what its own converter makes of our ONNX."""
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.ascend310_infer.building import ARCH, CACHE, CROSS, ROOT, build, download, runnable
from tests.ascend310_infer.tiny_models import SPEC, changed, run, semantic_model

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lite() -> Path:
    """The wheel's headers and libraries, laid out as Lite's package for Ascend is; downloaded once."""
    wheel = download("mindspore-lite==2.0.0", "--python-version", "3.7", "--platform",
                     "any" if ARCH == "aarch64" else f"manylinux1_{ARCH}") / "mindspore_lite"
    home = CACHE / "lite"
    if not home.is_dir():
        (home / "runtime/lib").mkdir(parents=True)
        (home / "runtime/include").symlink_to(wheel / "include")
        for library in wheel.glob("lib/*.so*"):
            (home / "runtime/lib" / library.name).symlink_to(library)
        (home / "runtime/lib/libmindspore-lite.so").symlink_to(wheel / "lib/libmindspore-extendrt_python.so")
    return home


@pytest.fixture(scope="module")
def with_both(lite) -> Path:
    return build(CACHE / "with_lite", MS_LITE_HOME=str(lite))


@pytest.fixture(scope="module")
def convert(lite):
    """Lite's converter: MODEL.onnx -> its .mindir beside it."""
    binary, runtime = CACHE / "convert_onnx", lite / "runtime"
    compiler = ["aarch64-linux-gnu-g++", f"--sysroot={CACHE}/sysroot"] if CROSS else ["g++"]
    subprocess.run([*compiler, "-std=c++17", "-D_GLIBCXX_USE_CXX11_ABI=0", f"-I{runtime}", f"-I{runtime}/include",
                    HERE / "convert_onnx.cc", "-o", binary, f"-L{runtime}/lib", "-lmindspore_converter",
                    "-lmindspore-lite", "-Wl,--allow-shlib-undefined"], check=True)

    def convert(model: Path) -> Path:
        ran = subprocess.run([runnable(binary), model, model.with_suffix("")], capture_output=True, text=True,
                             env=os.environ | {"LD_LIBRARY_PATH": f"{runtime}/lib"})
        assert ran.returncode == 0, ran.stderr[-2000:]
        return model.with_suffix(".mindir")

    return convert


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(3):
        noise = np.random.default_rng(k).integers(0, 256, (9, 12, 3), np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(noise, (120, 90 - 10 * k), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture
def libraries(lite, monkeypatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(lite / "runtime/lib"))


def test_the_same_labels_from_lite_and_openvino(with_both, convert, images, tmp_path, libraries):
    model = semantic_model(tmp_path)
    for path, name in ((model, "openvino"), (convert(model), "lite")):
        ran = run(with_both, path, images, tmp_path / name)
        assert ran.returncode == 0, ran.stderr[-2000:]
    for k in range(3):
        openvino, of_lite = (cv2.imread(str(tmp_path / f"{name}/labels/{k}.png"), -1) for name in ("openvino", "lite"))
        assert len(np.unique(openvino)) == 3
        assert (openvino == of_lite).all()


@pytest.mark.skipif(CROSS, reason="Python cannot load libraries of the other architecture")
def test_the_same_scores_through_the_c_interface(with_both, convert, tmp_path):
    """In a process of its own, which starts with Lite's libraries on its path."""
    model = semantic_model(tmp_path)
    image = np.random.default_rng(0).normal(0, 1, (1, 3, 65, 65)).astype(np.float32)
    runtime = with_both.parent.parent / "lite/runtime/lib"
    scores = []
    for path, backend in ((model, "openvino"), (convert(model), "mindspore")):
        image.tofile(tmp_path / "in.bin")
        code = f"from tests.ascend310_infer.test_lite import c_run; c_run({str(with_both.parent)!r}, {backend!r}, " \
               f"{str(path)!r}, {str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True,
                       env=os.environ | {"LD_LIBRARY_PATH": str(runtime)})
        scores.append(np.fromfile(tmp_path / f"{backend}.bin", np.float32))
    assert np.ptp(scores[0]) > 0.5
    np.testing.assert_allclose(*scores, atol=1e-6)


def c_run(folder: str, backend: str, model: str, files: str) -> None:
    """Run `model` over in.bin, by the interface of backend.h."""
    class Options(ctypes.Structure):
        _fields_ = [("model_path", ctypes.c_char_p), ("device_type", ctypes.c_char_p), ("device_id", ctypes.c_int),
                    ("threads", ctypes.c_int), ("parallel_runs", ctypes.c_int), ("half_suffices", ctypes.c_int)]

    library = ctypes.CDLL(f"{folder}/libmindseg_backend_{backend}.so")
    options, handle = Options(model.encode(), b"CPU", 0, 1, 1, 0), ctypes.c_void_p()
    error = ctypes.create_string_buffer(2048)
    assert library.mindseg_open(ctypes.byref(options), ctypes.byref(handle), error, 2048) == 0, error.value
    image, scores = np.fromfile(f"{files}/in.bin", np.float32), np.zeros(3 * 65 * 65, np.float32)
    pointers = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (image, scores)]
    assert library.mindseg_run(handle, 0, *pointers, error, 2048) == 0, error.value
    scores.tofile(f"{files}/{backend}.bin")


def test_the_launchers_set_the_path_that_lite_needs(lite, with_both, convert, images, tmp_path, monkeypatch):
    model = convert(semantic_model(tmp_path))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    alone = run(with_both, model, images, tmp_path / "alone")
    assert alone.returncode == 4
    assert "cannot open shared object file" in alone.stderr
    assert "set MS_LITE_HOME" in alone.stderr
    script = 'source scripts/common.sh; source scripts/infer_310.sh; with_lite "$@"'
    launched = subprocess.run(["bash", "-c", script, "-", with_both, f"--model_path={model}", "--device_type=CPU",
                               f"--dataset_path={images}", f"--result_path={tmp_path / 'r'}"], cwd=ROOT, text=True,
                              capture_output=True, env=os.environ | {"LITE_HOME": str(lite)})
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert len(list((tmp_path / "r/labels").iterdir())) == 3


@pytest.mark.parametrize(("dtype", "mode"), [("float32", "preferred_fp32"), ("float16", "enforce_fp16")])
def test_on_ascend_results_of_float32_are_not_calculated_in_float16(dtype, mode, with_both, convert, images, tmp_path,
                                                                  libraries):
    """The mode is what Lite's own context holds when it refuses, for want of CANN's libraries."""
    model = convert(semantic_model(tmp_path, changed(SPEC, outputs__0__dtype=dtype)))
    ran = run(with_both, model, images, tmp_path / "r", "--device_type=Ascend")
    assert ran.returncode == 4
    assert f"Ascend device 0 in precision mode {mode}" in ran.stderr
    assert "libgraph.so" in ran.stderr + ran.stdout
    assert "Failed to register Ascend plugin" in ran.stderr + ran.stdout


def test_a_mindir_of_a_newer_mindspore_is_refused_with_the_way_out(with_both, images, tmp_path, libraries):
    from mindspore.train import mind_ir_pb2 as ir

    semantic_model(tmp_path)
    content = ir.ModelProto(ir_version="0.1.0", producer_name="MindSpore", model_version="2.10.0", mind_ir_version=3)
    (tmp_path / "model.mindir").write_bytes(content.SerializeToString())
    ran = run(with_both, tmp_path / "model.mindir", images, tmp_path / "r")
    assert ran.returncode == 4
    assert "can only support the maximum mind ir version: 1" in ran.stderr + ran.stdout
    assert "converter_lite --fmk=ONNX" in ran.stderr


def test_a_folder_that_is_no_package_is_named(tmp_path):
    for make, words in ((False, "no MindSpore Lite package"), (True, "no include/api/model.h")):
        if make:
            (tmp_path / "runtime").mkdir()
        ran = subprocess.run([ROOT / "ascend310_infer/build.sh", tmp_path / "build"], capture_output=True, text=True,
                             env=os.environ | {"MS_LITE_HOME": str(tmp_path)})
        assert ran.returncode != 0
        assert words in " ".join(ran.stderr.split())
