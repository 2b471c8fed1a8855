"""Everything that face_models raises, as one tree.

FaceModelsError
├── PhotoError              the photo is refused; final, the same bytes are never worth a retry
│   ├── EmptyPhoto          empty-photo               no bytes
│   ├── UnsupportedType     unsupported-image-type    not JPEG, PNG, WebP (or HEIC)
│   ├── UnreadableImage     unreadable-image          damaged, truncated, or made to exhaust us
│   ├── TooManyBytes        photo-too-large           the file is too large
│   ├── TooManyPixels       too-many-pixels           the picture is too large
│   ├── NoFace              no-face                   nobody in the photo
│   ├── NoSuchFace          no-such-face              the caller's face index is not there
│   ├── FaceTooSmall        face-too-small            too few pixels to tell people apart
│   └── QualityTooLow       quality-too-low           too blurred, dark, turned …
├── EmbeddingFailed         embedding-failed          the networks gave no usable answer
└── WeightsError            weights-unusable          missing, changed or misdescribed weights
"""

from __future__ import annotations

from typing import ClassVar


class FaceModelsError(Exception):
    """Root of the tree; `slug` is the last part of the stable problem type that servers answer."""

    slug: ClassVar[str] = "face-models-error"


class PhotoError(FaceModelsError):
    """The photo is refused, and would be refused again."""

    slug = "photo-refused"


class EmptyPhoto(PhotoError):
    slug = "empty-photo"


class UnsupportedType(PhotoError):
    slug = "unsupported-image-type"


class UnreadableImage(PhotoError):
    slug = "unreadable-image"


class TooManyBytes(PhotoError):
    slug = "photo-too-large"


class TooManyPixels(PhotoError):
    slug = "too-many-pixels"


class NoFace(PhotoError):
    slug = "no-face"


class NoSuchFace(PhotoError):
    slug = "no-such-face"


class FaceTooSmall(PhotoError):
    slug = "face-too-small"


class QualityTooLow(PhotoError):
    slug = "quality-too-low"


class EmbeddingFailed(FaceModelsError):
    """The networks raised or answered with numbers that are not finite: ours to repair."""

    slug = "embedding-failed"


class WeightsError(FaceModelsError):
    """The weights folder cannot be used as it is: ours to repair, before serving."""

    slug = "weights-unusable"
