"""Files of tensors in four formats: what is written is read back, and what is hostile is refused without harm."""
from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from src.contract import InputError
from src.weights.formats import read_tensors, write_tensors
from tests.torch_writer import state_dict, tensor, torch_legacy, torch_zip, unicode

MEGABYTE = 2 ** 20


SIX = np.arange(6, dtype=np.float32)


# --- what is written is read ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors", ".npz"])
def test_tensors_and_metadata_survive_a_file(tmp_path, suffix):
    tensors = {"conv1.weight": SIX.reshape(1, 6, 1, 1), "half": SIX.astype(np.float16), "scalar": np.array(7),
               "transposed": SIX.reshape(2, 3).T}
    path = tmp_path / f"weights{suffix}"
    write_tensors(path, tensors, {"metadata": '{"family": "zoo"}', "note": "Höhe"})
    found, metadata = read_tensors(path)
    assert metadata == {"metadata": '{"family": "zoo"}', "note": "Höhe"}
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)
    assert list(tmp_path.iterdir()) == [path]


def test_mindspore_reads_our_ckpt_and_we_read_its_checksummed_one(tmp_path):
    import mindspore as ms

    write_tensors(tmp_path / "ours.ckpt", {"a": SIX}, {"metadata": "{}"})
    values = ms.load_checkpoint(str(tmp_path / "ours.ckpt"))
    assert values["a"].asnumpy().tolist() == [0, 1, 2, 3, 4, 5]
    assert values["metadata"] == "{}"
    ms.save_checkpoint([{"name": "b", "data": ms.Tensor(SIX)}], str(tmp_path / "theirs.ckpt"), crc_check=True)
    assert read_tensors(tmp_path / "theirs.ckpt")[0]["b"].tolist() == [0, 1, 2, 3, 4, 5]
    damaged = bytearray((tmp_path / "theirs.ckpt").read_bytes())
    damaged[-20] ^= 1
    (tmp_path / "damaged.ckpt").write_bytes(damaged)
    with pytest.raises(InputError, match="check sum"):
        read_tensors(tmp_path / "damaged.ckpt")


def test_an_earlier_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"a": SIX}, {})
    with pytest.raises(Exception, match="object"):
        write_tensors(path, {"a": np.array([object()])}, {})
    assert read_tensors(path)[0]["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_of_both_formats(tmp_path, legacy):
    """Two tensors share a storage, one of them is transposed; one is a Parameter, one has no dimensions."""
    view = b"N" if legacy else b""
    pickle = state_dict({
        "matrix": tensor("0", 6, 0, (3, 2), (1, 3), view=view),
        "part": tensor("0", 6, 4, (2,), (1,), view=view),
        "parameter": b"ctorch._utils\n_rebuild_parameter\n(" + tensor("1", 1, 0, (1,), (1,), view=view)
                     + b"\x88ccollections\nOrderedDict\n)RtR",
        "num_batches_tracked": tensor("2", 1, 0, (), (), dtype="LongStorage", view=view)})
    storages = {"0": SIX, "1": np.float32([8]), "2": np.array([9])}
    if legacy:
        path = torch_legacy(tmp_path / "w.pth", pickle, storages)
    else:
        path = torch_zip(tmp_path / "w.pth", pickle, {k: a.tobytes() for k, a in storages.items()})
    found, metadata = read_tensors(path)
    assert {name: array.tolist() for name, array in found.items()} == {
        "matrix": [[0, 3], [1, 4], [2, 5]], "part": [4, 5], "parameter": [8], "num_batches_tracked": 9}
    assert metadata == {}
    assert found["matrix"].dtype == np.float32
    assert found["num_batches_tracked"].dtype == np.int64


# --- hostile files ----------------------------------------------------------------------------------------------------

def call(command: str) -> bytes:
    return b"\x80\x02cposix\nsystem\n(" + unicode(command) + b"tR."


def one(**changes) -> bytes:
    """A state dict of one good tensor of six values, but for `changes`."""
    good = {"key": "0", "count": 6, "offset": 0, "shape": (2, 3), "strides": (3, 1)} | changes
    return state_dict({"a": tensor(good.pop("key"), good.pop("count"), good.pop("offset"), good.pop("shape"),
                                   good.pop("strides"), **good)})


def zip_of(pickle: bytes, **storages: bytes):
    data = {key.removeprefix("_"): value for key, value in storages.items()} or {"0": SIX.tobytes()}
    return lambda path, _: torch_zip(path, pickle, data)


def raw(content: bytes):
    return lambda path, _: path.write_bytes(content)


def nested_name() -> bytes:
    """A tuple of a tuple of ... 60 levels, each twice: hashing or printing it would take ages."""
    return b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s."


def truncated(pickle: bytes):
    def make(path, _):
        content = torch_zip(path, pickle, {"0": SIX.tobytes()}).read_bytes()
        path.write_bytes(content[:len(content) // 2])
    return make


def npz_member(header: dict | str, data: bytes, *, compression: int = zipfile.ZIP_STORED):
    def make(path, _):
        text = (header if isinstance(header, str) else repr(header)).encode().ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    return make


def object_npz(path, marker):
    class Call:
        def __reduce__(self):
            import os
            return os.system, (f"touch {marker}",)
    np.savez(path, a=np.array([Call()], dtype=object))


def safetensors(header: bytes | dict, data: bytes = b"", length: int | None = None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return raw(struct.pack("<Q", len(text) if length is None else length) + text + data)


def ckpt(dims: list[int], kind: str, data: bytes):
    def make(path, _):
        from mindspore.train.checkpoint_pb2 import Checkpoint

        message = Checkpoint()
        value = message.value.add(tag="a")
        value.tensor.dims.extend(dims)
        value.tensor.tensor_type, value.tensor.tensor_content = kind, data
        path.write_bytes(message.SerializeToString())
    return make


def map_ckpt(path, _):
    from mindspore.train.checkpoint_pb2 import Checkpoint

    message = Checkpoint()
    message.value.add(tag="a").maptensor.tensor.add(tensor_type="Float32", tensor_content=b"")
    path.write_bytes(message.SerializeToString())


FLOAT_HEADER = {"descr": "<f4", "fortran_order": False}
HUGE = 2 ** 29  # float32 values: 2 GB
HOSTILE = {
    "a pickle that calls": ("w.pth", lambda path, marker: torch_zip(path, call(f"touch {marker}"), {}),
                            "would call posix.system"),
    "a bare pickle that calls": ("w.pth", lambda path, marker: path.write_bytes(call(f"touch {marker}")),
                                 "would call posix.system"),
    "an instance by opcode": ("w.pth", lambda path, marker: torch_zip(
        path, f"(S'touch {marker}'\niposix\nsystem\n.".encode(), {}), "only tensors are read"),
    "a call by names on the stack": ("w.pth", lambda path, marker: torch_zip(
        path, b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + unicode(f"touch {marker}") + b"\x85R.", {}),
        "would call posix.system"),
    "a call by numbers on the stack": ("w.pth", zip_of(b"\x80\x04K\x01K\x02\x93."), "damaged"),
    "a call by one name": ("w.pth", zip_of(b"\x80\x04\x8c\x0cposix system\x8c\x00\x93."),
                           "would call posix.system"),
    "an object by protocol 4": ("w.pth", zip_of(b"\x80\x04\x8c\x05torch\x8c\x0cFloatStorage\x93)\x81."),
                                "instruction NEWOBJ"),
    "an empty memo": ("w.pth", zip_of(b"\x80\x04\x94."), "damaged"),
    "a memo of 2 ** 31": ("w.pth", zip_of(b"\x80\x02]r\x00\x00\x00\x80."), "holds a list"),
    "an array of 1 GB": ("w.pth", zip_of(b"\x80\x05\x96" + (2 ** 30).to_bytes(8, "little") + b"."),
                         "damaged|truncated"),
    "a call of a storage type": ("w.pth", zip_of(b"\x80\x02ctorch\nFloatStorage\n)R."), "does not rebuild a tensor"),
    "an attribute of a function": ("w.pth", zip_of(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b."), "damaged"),
    "a tuple of tuples as name": ("w.pth", zip_of(nested_name()), "a tuple as a name"),
    "an instruction of protocol 4": ("w.pth", zip_of(b"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00\x8f."),
                                     "instruction EMPTY_SET"),
    "bfloat16": ("w.pth", zip_of(b"\x80\x02ctorch\nBFloat16Storage\n."), "bfloat16.*convert every value"),
    "two pickles": ("w.pth", zip_of(one(), **{"x/data.pkl": b""}), "2 members data.pkl"),
    "an empty pickle": ("w.pth", zip_of(b""), "truncated|damaged"),
    "a truncated pickle": ("w.pth", zip_of(one()[:-30]), "truncated|damaged"),
    "a text of 4 GB": ("w.pth", zip_of(b"\x80\x02X\xff\xff\xff\xffabc."), "damaged"),
    "a bare text of 4 GB": ("w.pth", raw(b"\x80\x02X\xff\xff\xff\xffabc."), "damaged"),
    "an empty stack": ("w.pth", zip_of(b"\x80\x02\x86."), "damaged"),
    "no state dict": ("w.pth", zip_of(b"\x80\x02](K\x01e."), "holds a list"),
    "a nested dict": ("w.pth", zip_of(state_dict({"model": b"}" + unicode("a") + b"K\x01s"})), "one level deeper"),
    "a truncated zip": ("w.pth", truncated(one()), "truncated or damaged zip"),
    "a zip bomb": ("w.pth", lambda path, _: torch_zip(path, one(), {"0": bytes(64 * MEGABYTE)},
                                                      compression=zipfile.ZIP_DEFLATED), "compressed"),
    "a tensor out of its storage": ("w.pth", zip_of(one(offset=1)), "reaches value 7 of a storage of 6"),
    "strides out of the storage": ("w.pth", zip_of(one(strides=(6, 1))), "reaches value 9"),
    "a storage that is not there": ("w.pth", zip_of(one(key="7")), "storage '7' is missing"),
    "a storage of another size": ("w.pth", zip_of(one(), _0=SIX.tobytes()[:-4]), "has 20 bytes"),
    "2 GB declared": ("w.pth", zip_of(one(count=HUGE, shape=(HUGE,), strides=(1,))), "needs a storage of 536870912"),
    "2 GB by a stride of 0": ("w.pth", zip_of(one(shape=(HUGE,), strides=(0,))), "reaches value 536870912"),
    "one storage many times": ("w.pth", lambda path, _: torch_zip(path, state_dict(
        {f"a{i}": tensor("0", 250_000, 0, (250_000,), (1,)) for i in range(900)}), {"0": bytes(1_000_000)}),
        "have 3000000 bytes"),
    "a negative size": ("w.pth", zip_of(one(shape=(-2, 3))), "not those of a tensor"),
    "a negative stride": ("w.pth", zip_of(one(strides=(3, -1))), "not those of a tensor"),
    "a negative offset": ("w.pth", zip_of(one(offset=-1)), "not those of a tensor"),
    "a name that leaves the folder": ("w.pth", zip_of(one(key="../../../etc/passwd")), "strange name"),
    "a parameter named like a path": ("w.pth", zip_of(state_dict({"../../a": tensor("0", 6, 0, (6,), (1,))})),
                                      "no name of a parameter"),
    "no torch file": ("w.pth", raw(b"<html>not found</html>"), "not a PyTorch weights file"),
    "2 GB declared, old format": ("w.pth", lambda path, _: torch_legacy(
        path, one(count=HUGE, shape=(HUGE,), strides=(1,), view=b"N"), {"0": SIX}, counts={"0": HUGE}), "truncated"),
    "negative count, old format": ("w.pth", lambda path, _: torch_legacy(
        path, one(view=b"N"), {"0": SIX}, counts={"0": -1}), "truncated"),
    "a big-endian machine": ("w.pth", lambda path, _: torch_legacy(path, one(view=b"N"), {"0": SIX},
                                                                   little_endian=False), "big-endian"),
    "objects in an .npz": ("w.npz", object_npz, "objects are not read"),
    "an .npz bomb": ("w.npz", npz_member({**FLOAT_HEADER, "shape": (16 * MEGABYTE,)}, bytes(64 * MEGABYTE),
                                         compression=zipfile.ZIP_DEFLATED), "it is not read"),
    "2 GB declared in an .npz": ("w.npz", npz_member({**FLOAT_HEADER, "shape": (HUGE,)}, SIX.tobytes()), "claims"),
    "a negative size in an .npz": ("w.npz", npz_member({**FLOAT_HEADER, "shape": (-6, -1)}, SIX.tobytes()), "claims"),
    "code in an .npz header": ("w.npz", npz_member({**FLOAT_HEADER, "shape": "__import__('os')"}, b""), "shape"),
    "an open .npz header": ("w.npz", npz_member("{'descr': (", b""), "not an .npz file"),
    "a list as key of an .npz header": ("w.npz", npz_member("{[]: 1}", b""), "not an .npz file"),
    "an .npz header of minus signs": ("w.npz", npz_member("-" * 9000 + "1", b""), "not an .npz file"),
    "another compression of an .npz": ("w.npz", npz_member({**FLOAT_HEADER, "shape": (6,)}, SIX.tobytes(),
                                                           compression=zipfile.ZIP_LZMA), "save it again"),
    "no .npz": ("w.npz", raw(b"PK\x03\x04 and no more"), "not an .npz file"),
    "a safetensors header of 2 GB": ("w.safetensors", safetensors(b"{}", length=2 ** 31), "not a safetensors file"),
    "safetensors out of range": ("w.safetensors", safetensors(
        {"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}, SIX.tobytes()),
        "not a safetensors file"),
    "safetensors of another size": ("w.safetensors", safetensors(
        {"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 24]}}, SIX.tobytes()), "not a safetensors file"),
    "safetensors of 8 bits": ("w.safetensors", safetensors(
        {"a": {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]}}, SIX.tobytes()), "not a safetensors file"),
    "safetensors without end": ("w.safetensors", safetensors(b'{"a": '), "not a safetensors file"),
    "a garbled .ckpt": ("w.ckpt", raw(bytes(range(256)) * 4), "not a MindSpore checkpoint"),
    "2 GB declared in a .ckpt": ("w.ckpt", ckpt([HUGE], "Float32", SIX.tobytes()), "claims"),
    "a negative size in a .ckpt": ("w.ckpt", ckpt([-2, -3], "Float32", SIX.tobytes()), "claims"),
    "an unknown type in a .ckpt": ("w.ckpt", ckpt([6], "Float7", SIX.tobytes()), "has type 'Float7'"),
    "70 sizes in a .ckpt": ("w.ckpt", ckpt([1] * 70, "Float32", SIX.tobytes()[:4]), "claims"),
    "sizes whose product is 0 in a .ckpt": ("w.ckpt", ckpt([0, 2 ** 62, 2 ** 62], "Float32", b""), "claims"),
    "a map in a .ckpt": ("w.ckpt", map_ckpt, "not a tensor"),
    "a zip called .ckpt": ("w.ckpt", lambda path, _: torch_zip(path, one(), {"0": SIX.tobytes()}), "rename it to .pth"),
    "a folder": ("w.ckpt", lambda path, _: path.mkdir(), "is a folder"),
    "an empty file": ("w.safetensors", raw(b""), "is empty"),
    "no file": ("w.npz", lambda *_: None, "no such file"),
    "another suffix": ("w.h5", raw(b"x"), "suffix '.h5'"),
}


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """What imports allocate is not the hostile file's."""
    import mindspore.train.checkpoint_pb2  # noqa: F401
    import safetensors  # noqa: F401


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_without_harm(tmp_path, kind):
    name, make, message = HOSTILE[kind]
    path, marker = tmp_path / name, tmp_path / "executed"
    make(path, marker)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as refusal:
            read_tensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value)) < 700
    assert not marker.exists()
    assert peak < 8 * MEGABYTE
