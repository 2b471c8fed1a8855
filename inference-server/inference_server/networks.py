"""A weights folder at work, and which of two answers while one takes the other's place.

Both enrol every face. A request asks once whose turn it is and stays with that: the probe is
embedded, searched and judged by the same networks, whatever is switched meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from inference_server.enrolment import Enroller
from inference_server.face_pipeline import FacePipeline, Fingerprints, fingerprints_of, stamp_of
from inference_server.gallery import Gallery, ModelStamp, SwitchLog, VectorIndex
from inference_server.matcher import Matcher, Policy
from inference_server.readiness import ReadinessCheck


@dataclass(frozen=True, slots=True)
class Shadow:
    """Networks that are to take the others' place, and the log that says when."""

    pipeline: FacePipeline
    index: VectorIndex
    switches: SwitchLog


@dataclass(frozen=True, slots=True)
class Networks:
    stamp: ModelStamp
    pipeline: FacePipeline
    prints: Fingerprints
    index: VectorIndex
    matcher: Matcher
    enroller: Enroller
    readiness: ReadinessCheck
    is_shadow: bool = False

    @classmethod
    def at_work(
        cls,
        pipeline: FacePipeline,
        gallery: Gallery,
        policy: Policy,
        others: Sequence[FacePipeline] = (),
        *,
        is_shadow: bool = False,
    ) -> Self:
        """`others` embed whomever this pipeline enrols, too."""
        return cls(
            stamp=stamp_of(pipeline),
            pipeline=pipeline,
            prints=fingerprints_of(pipeline),
            index=gallery.index,
            matcher=Matcher(pipeline, gallery.index, policy),
            enroller=Enroller(pipeline, gallery.store, others=others),
            readiness=ReadinessCheck(pipeline, gallery),
            is_shadow=is_shadow,
        )


class Rota:
    """The networks of WEIGHTS_DIR, and those of SHADOW_WEIGHTS_DIR if there are any."""

    def __init__(self, standing: Networks, shadow: Networks | None, switches: SwitchLog | None):
        self._standing = standing
        self._shadow = shadow
        self._switches = switches

    def on_duty(self) -> Networks:
        """Those whom the latest switch names; the standing ones before the first.

        Raises:
            StoreUnavailable
        """
        if self._shadow is None or self._switches is None:
            return self._standing
        active = self._switches.active()
        return self._shadow if active == self._shadow.stamp else self._standing


def rota_of(
    pipeline: FacePipeline, gallery: Gallery, policy: Policy, shadow: Shadow | None
) -> Rota:
    if shadow is None:
        return Rota(Networks.at_work(pipeline, gallery, policy), None, None)
    beside = Gallery(gallery.store, shadow.index)
    return Rota(
        Networks.at_work(pipeline, gallery, policy, [shadow.pipeline]),
        Networks.at_work(shadow.pipeline, beside, policy, [pipeline], is_shadow=True),
        shadow.switches,
    )
