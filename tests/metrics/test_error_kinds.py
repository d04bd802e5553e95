"""TIDE's six kinds on literal overlaps, and numbers of its authors' program on generated detections."""
import numpy as np
import pytest

from src.metrics.coco_matches import ImageOverlaps, overlaps
from src.metrics.error_kinds import KINDS, ErrorKinds
from tests.generated_detections import NAMES, evaluated

CLASSES = {1: "cat", 2: "dog"}
# AP at IoU 0.5 and the AP lost to each of KINDS
PUBLISHED = {"bbox": (0.239553357, 0.026342789, 0.134237856, 0.018548857, 0.015038338, 0.082265631, 0.062232695),
             "segm": (0.154294911, 0.016211716, 0.193020699, 0.013038709, 0.007082792, 0.058822629, 0.046334148)}


def image(*detections, objects, crowds=None, number=1) -> ImageOverlaps:
    """Detections (class, score, overlaps with the objects), best first."""
    return ImageOverlaps(number, np.array([d[0] for d in detections], int), np.array([d[1] for d in detections], float),
                         np.full(len(detections), 50.0), np.arange(len(detections)), np.array(objects, int),
                         np.full(len(objects), 50.0), np.array(crowds or [False] * len(objects), bool),
                         np.array([d[2] for d in detections], float).reshape(len(detections), len(objects)))


def kinds(*images) -> list[str]:
    return [error.kind for error in ErrorKinds(images, CLASSES).errors]


@pytest.mark.parametrize(("detection", "expected"), [
    ((1, 0.8, [0.3, 0.0]), ["Loc"]), ((1, 0.8, [0.1, 0.0]), ["Loc"]), ((1, 0.8, [0.0, 0.7]), ["Cls"]),
    ((1, 0.8, [0.05, 0.3]), ["Both", "Miss", "Miss"]), ((1, 0.8, [0.09, 0.1]), ["Bkg", "Miss", "Miss"]),
    ((1, 0.8, [0.3, 0.9]), ["Loc"]), ((1, 0.8, [0.0, 0.5]), ["Cls"])])
def test_the_kind_of_one_detection(detection, expected):
    """Of a cat and a dog; what a detection of Loc or Cls would have found is not missed, the other object is."""
    found = kinds(image(detection, objects=[1, 2]))
    assert found == (expected if len(expected) > 1 else [*expected, "Miss"])


def test_a_second_detection_is_a_duplicate():
    assert kinds(image((1, 0.9, [0.8]), (1, 0.7, [0.6]), objects=[1])) == ["Dupe"]


def test_without_objects_everything_is_background():
    assert kinds(image((1, 0.9, []), objects=[])) == ["Bkg"]


def test_detections_in_a_crowd_are_no_errors():
    found = ErrorKinds([image((1, 0.9, [0.9]), objects=[1], crowds=[True])], CLASSES)
    assert all(kind["count"] == 0 for kind in found.compute()["kinds"].values())


def test_ap_lost_literal():
    """Two cats. One is found with 0.5; a false alarm with 0.9 halves the precision, the other cat is missed."""
    found = ErrorKinds([image((1, 0.9, [0, 0]), (1, 0.5, [0.9, 0]), objects=[1, 1])], CLASSES).compute()
    assert found["ap"] == pytest.approx(0.5 * 51 / 101)
    lost = {kind: numbers["ap_lost"] for kind, numbers in found["kinds"].items()}
    assert lost == {"Cls": 0, "Loc": 0, "Both": 0, "Dupe": 0, "Bkg": pytest.approx(51 / 101 - 0.5 * 51 / 101),
                    "Miss": pytest.approx(0.5 - 0.5 * 51 / 101)}
    assert found["kinds"]["Bkg"] == {"count": 1, "ap_lost": lost["Bkg"], "classes": {"cat": 1}}


def test_the_best_detection_of_an_object_is_mended_and_the_others_go():
    """Loc 0.8 and 0.6 belong to the one cat: mended, it is found at once."""
    found = ErrorKinds([image((1, 0.8, [0.4]), (1, 0.6, [0.3]), objects=[1])], CLASSES)
    assert [error.repairs for error in found.errors] == [1, 0]
    assert found.compute()["kinds"]["Loc"]["ap_lost"] == 1


def test_a_mended_class_is_the_objects():
    found = ErrorKinds([image((2, 0.8, [0.9]), objects=[1])], CLASSES).compute()
    assert found["kinds"]["Cls"] == {"count": 1, "ap_lost": 1, "classes": {"dog": 1}}
    assert found["kinds"]["Miss"]["count"] == 0


def test_a_class_without_objects_has_no_ap():
    assert ErrorKinds([image((1, 0.9, [1.0]), (2, 0.8, [0.0]), objects=[1])], CLASSES).compute()["ap"] == 1
    nothing = ErrorKinds([image((1, 0.9, []), objects=[])], CLASSES).compute()
    assert nothing["ap"] is None
    assert nothing["kinds"]["Bkg"] == {"count": 1, "ap_lost": None, "classes": {"cat": 1}}


def test_worst_images():
    images = [image((1, 0.2, []), (1, 0.1, []), objects=[]), image((1, 0.9, []), objects=[], number=2),
              image((1, 0.9, [0.9]), objects=[1], number=3)]
    found = ErrorKinds(images, CLASSES)
    assert [k for k, _ in found.worst_images("Bkg", 5)] == [1, 0]
    assert [e.detection for e in found.worst_images("Bkg", 5)[1][1]] == [0, 1]
    assert found.worst_images("Bkg", 1) == found.worst_images("Bkg", 5)[:1]
    assert found.worst_images("Cls", 5) == []


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_published_programs_numbers(kind):
    """What tidecv 1.0.1 gives for these detections: benchmarks/error_kinds.py runs it on them and on many more."""
    found = ErrorKinds(overlaps(evaluated(11), kind), NAMES).compute()
    assert (found["ap"], *(found["kinds"][name]["ap_lost"] for name in KINDS)) == pytest.approx(PUBLISHED[kind],
                                                                                                 abs=1e-6)
