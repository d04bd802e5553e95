"""What a bug report must not tell."""
import json

import pytest

from src.doctor.finding import FAILURE, OK, Finding
from src.doctor.report import HIDDEN, Censor, to_json

SECRETS = {"MS_API_KEY": "sesame-1", "HCCL_TOKEN": "sesame-2", "ASCEND_SECRET_X": "sesame-3",
           "MA_PASSWORD": "sesame-4", "ms_passwd": "sesame-5", "MS_AUTH": "sesame-6", "UNRELATED_KEY": "sesame-7"}
ENV = SECRETS | {"ASCEND_HOME_PATH": "/home/alice/Ascend", "PYTHONPATH": "/data/alice/src:/Users/bob/x:/opt/alicent",
                 "MS_PROXY": "http://alice:hush@proxy:80", "UNRELATED": "private", "USER": "alice", "RANK_ID": "3"}


def test_secrets_and_users_are_left_out():
    findings = [Finding("folder", FAILURE, "/home/alice/run of sesame-7 is full", "ask for /data/alice"),
                Finding("other", OK, "RANK 3")]
    text = to_json(findings, ENV, user="carol")
    assert "sesame" not in text
    assert not any(word in text for word in ("alice/", "/alice\"", "bob", "hush", "private"))
    report = json.loads(text)
    shown = report["environment"]
    assert {name: shown[name] for name in ("MS_API_KEY", "HCCL_TOKEN", "RANK_ID", "ASCEND_HOME_PATH", "MS_PROXY")} == {
        "MS_API_KEY": HIDDEN, "HCCL_TOKEN": HIDDEN, "RANK_ID": "3", "ASCEND_HOME_PATH": "/home/USER/Ascend",
        "MS_PROXY": f"http://{HIDDEN}@proxy:80"}
    assert shown["PYTHONPATH"] == "/data/USER/src:/Users/USER/x:/opt/alicent"
    assert report["findings"][0] == {"check": "folder", "level": "failure", "text": f"/home/USER/run of {HIDDEN} is "
                                     "full", "remedy": "ask for /data/USER"}
    assert "UNRELATED" not in shown
    assert "UNRELATED_KEY" not in shown


@pytest.mark.parametrize(("text", "expected"), [
    ("/root/x", "/root/x"), ("/data/root/x", "/data/root/x"), ("/scratch/carol", "/scratch/USER"),
    ("/scratch/caroline/x", "/scratch/caroline/x"), ("/a/carol:/b/carol/c", "/a/USER:/b/USER/c")])
def test_names_in_paths(text, expected):
    assert Censor({"USER": "root"}, "carol")(text) == expected


def test_short_values_do_not_black_out_words():
    assert Censor({"MY_KEY": "1"}, "")("rank 1 of 11") == "rank 1 of 11"
