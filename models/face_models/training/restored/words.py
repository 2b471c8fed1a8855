"""What the figures show, and what they cannot, in plain words.

The sentences follow from the figures by the rules written here: a difference is called shown where
its 95 % interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from face_models.training.restored.request import AGES, PEOPLE
from face_models.training.restored.treated import MASKED, MEAN, ORIGINAL, RESTORED, TREATMENTS

Document = Mapping[str, Any]
JUDGES: Final = {
    "base": "the base network, which is in the restoration's loss",
    "heatmap": "the heatmap network, as served",
    "teacher": "the teacher, which had no part in the restoration",
}
SERVED: Final = "heatmap"
LIMITS: Final = (
    (
        "The masks are drawn, not worn: flat outlines on an aligned crop, without straps, shadows "
        "or a face that they change. Real masks will be found less well; how much is not measured."
    ),
    (
        "Crops were aligned before the mask was drawn. A detector that sees a masked face places "
        "its landmarks worse; that loss is not in these figures."
    ),
    (
        "Ages are UTKFace's, some guessed by its makers; the photos have no names, so those "
        "of one person were kept together by the teacher's opinion only. The base network, from "
        "which the age networks start, saw these photos in its training, without their ages."
    ),
    (
        "The study's photos, masks and age estimator are others: its years stand beside ours for "
        "the order of original, masked and restored, not for their size."
    ),
)


def conclusions(document: Document) -> list[str]:
    lines: list[str] = []
    if PEOPLE in document:
        people = document[PEOPLE]
        verdict = "worth serving" if restoration_helps(people["match"]) else "not worth serving"
        lines += [*_about_region(people), *about_match(people["match"])]
        lines.append(
            f"Restoration for recognition is {verdict}: it would have to raise both rank-1 and AUC "
            "of masked probes under the served network, shown."
        )
    if AGES in document:
        lines += _about_age(document[AGES])
    return lines


def limits(document: Document) -> list[str]:
    """What holds whatever is measured, and how little the restoration has learnt."""
    learnt = next(iter(document.values()))["runs"]["restoration"]
    return [
        (
            f"The restoration network saw {learnt['examples']:,} faces in {learnt['minutes']:g} "
            "minutes of a shared core; what a larger one or more training restores is not measured."
        ),
        *LIMITS,
    ]


def restoration_helps(matched: Document) -> bool:
    intervals = matched[SERVED]["intervals"][f"{RESTORED} - {MASKED}"]
    return all(_direction(intervals[figure]) > 0 for figure in ("rank_1", "auc"))


def _about_region(people: Document) -> Iterator[str]:
    region = people["region"]
    unseen = region["iou"]["never seen"]["mean"]
    alarms = max(one["faces"] for one in region["false_alarms"].values())
    yield (
        f"The region is found with a mean IoU of {region['iou']['all']['mean']:.3f} on faces of "
        f"other people ({unseen:.3f} for shapes or colours never trained on); "
        f"{region['missed_share']:.1%} of masks are missed altogether, and at most {alarms:.1%} of "
        "unmasked faces raise an alarm."
    )
    ours, shipped = (people["hidden_share"][name] for name in ("region", "quality.face_occlusion"))
    better = "better than" if ours["auc"] > shipped["auc"] else "no better than"
    yield (
        f"It tells a masked face from an unmasked one {better} the shipped face_occlusion "
        f"(AUC {ours['auc']:.4f} against {shipped['auc']:.4f}); but it learnt from masks drawn as "
        "these are, face_occlusion from plainer ones."
    )


def about_match(matched: Document) -> Iterator[str]:
    for network, one in matched.items():
        told, interval = one["figures"], one["intervals"]
        lost = told[ORIGINAL]["rank_1"] - told[MASKED]["rank_1"]
        verb = _verb(interval[f"{RESTORED} - {MASKED}"]["rank_1"])
        area = _verb(interval[f"{RESTORED} - {MASKED}"]["auc"])
        against_mean = _verb(interval[f"{RESTORED} - {MEAN}"]["rank_1"])
        yield (
            f"To {JUDGES[network]}: a mask costs {100 * lost:.1f} points of rank-1; restoring "
            f"the face {verb} rank-1 ({told[MASKED]['rank_1']:.3f} to "
            f"{told[RESTORED]['rank_1']:.3f}) and {area} AUC ({told[MASKED]['auc']:.4f} to "
            f"{told[RESTORED]['auc']:.4f}). Against the mean face in the same hole it "
            f"{against_mean} rank-1 ({told[MEAN]['rank_1']:.3f} to {told[RESTORED]['rank_1']:.3f})."
        )


def _about_age(age: Document) -> Iterator[str]:
    for name, network in age["networks"].items():
        mae = {one: network["figures"][one]["mae"]["mean"] for one in TREATMENTS}
        change = network["differences"][f"{RESTORED} - {MASKED}"]
        order = mae[ORIGINAL] < mae[RESTORED] < mae[MASKED]
        yield (
            f"Age by {name}{' (chosen)' if name == age['chosen'] else ''}: MAE {mae[ORIGINAL]:.2f} "
            f"years on originals, {mae[MASKED]:.2f} masked, {mae[RESTORED]:.2f} restored; "
            f"restoring {_verb(change['interval'])} the error of masked photos "
            f"({change['mean']:+.2f} years). The study's order (original, restored, masked) is "
            f"{'' if order else 'not '}found again."
        )
    yield f"Always saying the median age errs by {age['always_the_median']:.2f} years."
    yield from _best_of_a_masked_photo(age)


def _best_of_a_masked_photo(age: Document) -> Iterator[str]:
    on_masked = min(age["networks"], key=lambda name: _mae(age, name, MASKED))
    on_restored = min(age["networks"], key=lambda name: _mae(age, name, RESTORED))
    least, other = _mae(age, on_masked, MASKED), _mae(age, on_restored, RESTORED)
    better = "masked photo as it is" if least <= other else "restored photo"
    yield (
        f"Of a masked face, the {better} tells the age best: {least:.2f} years as it is "
        f"({on_masked}), {other:.2f} restored ({on_restored})."
    )
    chosen = age["networks"][age["chosen"]]["figures"]
    band = list(chosen[MASKED]["mae_by_age"])[-1]
    before, after = (chosen[one]["mae_by_age"][band] for one in (MASKED, RESTORED))
    if after > before:
        yield (
            f"Restoring makes the old young: of people of {band} years the error of "
            f"{age['chosen']} rises from {before:.1f} to {after:.1f} years."
        )


def _mae(age: Document, network: str, treatment: str) -> float:
    return float(age["networks"][network]["figures"][treatment]["mae"]["mean"])


def _direction(interval: Sequence[float]) -> int:
    """-1, 1 where the interval lies beside zero, else 0."""
    low, high = interval
    return 1 if low > 0 else -1 if high < 0 else 0


def _verb(interval: Sequence[float]) -> str:
    return {1: "raises", -1: "lowers", 0: "is not shown to change"}[_direction(interval)]
