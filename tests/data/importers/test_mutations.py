"""Damaged exports: an importer ends with a result or an `InputError` that names a place, nothing else."""
import random
import shutil

import pytest

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from tests.data.importers.forms import EVERY

EACH = 15  # mutations of each of 21 forms
VALUES = (b"null", b"-1", b"1e999", b"NaN", b'"x"', b"[]", b"{}", b"true", b"99999999999999999999", b'"\\ud800"', b"")


def mutated(data: bytes, rng: random.Random, text: bool) -> bytes:
    """Cut, overwrite, or replace a value, key or name."""
    kind, at = rng.randrange(5 if text else 2), rng.randrange(max(len(data), 1))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9))) + data[at + 4:]
    marks = [k for k in range(len(data)) if data[k:k + 1] in b" ,:[]{}<>;\n\"'"]
    first = rng.choice(marks) if marks else 0
    last = next((k for k in marks if k > first + 1), len(data))
    return data[:first + 1] + rng.choice(VALUES) + data[last:] if kind < 4 else data[:first] + data[last:]


@pytest.mark.parametrize("name", EVERY)
def test_damaged_exports_end_with_a_result_or_a_message(name, tmp_path):
    EVERY[name](tmp_path / "source")
    name = name.split("/")[0]
    files = sorted(path for path in (tmp_path / "source").rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix not in (".png", ".jpg")]
    messages: list[str] = []
    for seed in range(EACH):
        rng = random.Random(f"{name} {seed}")
        path = rng.choice(texts if texts and seed % 4 else files)
        data = path.read_bytes()
        path.write_bytes(mutated(data, rng, path in texts))
        try:
            import_data(name, tmp_path / "source", tmp_path / "out", Options(on_bad="skip" if seed % 2 else "error"))
        except InputError as error:
            messages.append(str(error))
            if (tmp_path / "out").exists():
                pytest.fail("a refused import left a folder")
        path.write_bytes(data)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert sorted(p for p in tmp_path.iterdir()) == [tmp_path / "source"]
    assert messages  # the damage is not all harmless
    assert [m for m in messages if str(tmp_path) not in m and "--" not in m and name not in m] == []
