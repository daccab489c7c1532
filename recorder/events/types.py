"""What a recording is made of: plain, immutable records that need no torch to be read.

A tensor is a number: the same number is the same tensor object, for as long as it lived. A module is a number, and so
is a module's call. Numbers are given in the order of first appearance, so the same run gives the same events but for
the times. Times are nanoseconds since the recorder was entered.

    Module        a module that was called, described once, before its first call
    Tensor        a tensor seen for the first time without having been seen made: a parameter, a buffer, a constant
    Members       other tensors took the place of a module's parameters and buffers
    Enter, Leave  a call of a module that may hold other calls
    Op            a call with nothing inside: of a function, or of a childless ``torch.nn`` module
    Derived       where a tensor came from that was made unseen, as far as autograd knows
    Measured      what is in a tensor
    NotFinite     which parameters and buffers are not finite
    Grad          a gradient reached or left a call in backward
    ParameterGrad a gradient was accumulated in a parameter
    BackwardStart backward is called on a tensor
    Holdings      what the recorded models hold, and what of it was called, when a block ends
    Storage, Freed, Kept, OptimizerStep, Allocated    see `recorder.events.memory`
    Group         a process group
    Collective    an operation is about to be issued in a process group
    Carried       which parameters an operation carried
    RankSummary   what a rank did, in short, when a block ends
"""

from typing import Any, Literal

import msgspec

from recorder.events.memory import Allocated, Freed, Kept, OptimizerStep, Storage
from recorder.events.ranks import Carried, Collective, Group, RankSummary
from recorder.limits import Int64, Size, Word

__all__ = [
    "SCHEMA_VERSION",
    "UNFINISHED",
    "BackwardStart",
    "Derived",
    "Enter",
    "Event",
    "Grad",
    "GradStats",
    "Header",
    "Holdings",
    "Leave",
    "Measured",
    "Member",
    "Members",
    "Module",
    "NotFinite",
    "Op",
    "Output",
    "ParameterGrad",
    "Tensor",
    "TensorMeta",
    "Uncalled",
    "ValueStats",
]

SCHEMA_VERSION = 1
"""Of the file of a stream; a reader refuses a later one."""

UNFINISHED = "did not return"
"""The error of a call that was entered and not left while the program around it went on."""


class TensorMeta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of a tensor without its data.

    ``shape`` in elements, -1 where a dimension has no single size. ``grad_fn`` is the type name of the autograd node,
    ``sequence_nr`` its number (autograd counts them per thread). Tensors with the same ``storage`` share memory; None
    where there is no storage to share. ``examples`` is how many tensors of this shape it is under `torch.vmap`, and
    ``tangents`` says that `torch.func.jvp` computed another one beside it.
    """

    shape: tuple[Size, ...]
    dtype: Word
    device: Word
    requires_grad: bool = False
    grad_fn: str | None = None
    sequence_nr: Int64 | None = None
    storage: Int64 | None = None
    examples: Size = 1
    tangents: bool = False


class Output(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A tensor that a call returned or wrote to, as it was right afterwards."""

    tensor: Int64
    meta: TensorMeta


class Member(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A parameter or buffer that a module holds itself; ``name`` is relative to the module."""

    name: str
    tensor: Int64


class Module(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="module"):
    """A module, described once. ``leaf`` says that its calls are one `Op` each; ``root`` that it was given to the
    Recorder. ``attributes`` are its hyper-parameters, JSON values only.
    """

    module: Int64
    fqn: str
    op_type: str
    target: str
    leaf: bool = False
    root: bool = False
    attributes: dict[str, Any] = {}
    parameters: tuple[Member, ...] = ()
    buffers: tuple[Member, ...] = ()


class Members(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="members"):
    """From here on, calls of a module use these tensors in the place of the parameters and buffers that it was
    described with: `torch.func.functional_call` began, or ended and put back what was there.
    """

    module: int
    tensors: tuple[int, ...]


class Tensor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="tensor"):
    """A tensor met for the first time. ``name`` is the qualified name of a parameter or buffer, else None."""

    tensor: Int64
    meta: TensorMeta
    role: Literal["parameter", "buffer", "constant"] = "constant"
    name: str | None = None


class Enter(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="enter"):
    """A module's forward began. ``inputs`` are its positional tensors as far as they were known on entry; `Leave` has
    them all. ``outermost`` marks a call of a recorded module from outside of every other. ``recomputed`` marks a
    call that repeats an earlier one for its gradients (activation checkpointing). ``sequence_nr`` is the number that
    autograd would have given to the next node when the call began.
    """

    call: Int64
    module: Int64
    start_ns: Int64
    inputs: tuple[Int64, ...] = ()
    outermost: bool = False
    recomputed: bool = False
    sequence_nr: Int64 | None = None


class Leave(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="leave"):
    """A module's forward returned or raised. Calls that were entered later and have no `Leave` never returned.

    ``inputs`` and ``outputs`` are in the order of the call, and one that was returned twice stands twice. Each has a
    name: of an input ``hidden_states`` or ``position_embeddings.0``, by the signature of forward, the keys of mappings,
    the names of attributes, and positions; of an output ``logits`` or ``0``, and nothing if it was all that was
    returned. ``arguments`` are those without a tensor, JSON values only.
    """

    call: Int64
    stop_ns: Int64
    inputs: tuple[Int64, ...] = ()
    outputs: tuple[Int64, ...] = ()
    error: str | None = None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    arguments: dict[str, Any] = {}


class Op(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="op"):
    """One finished call with nothing inside.

    Of a function: ``target`` is its name as a user would import it, ``op_type`` its last part in plain words
    (``torch.Tensor.__getitem__`` is a ``getitem``). Of a module: ``module`` is set. ``call`` numbers the calls of
    modules, and those of functions if gradients are recorded at them.
    ``writes`` are the inputs whose memory the call changed. ``attributes`` are the arguments without a tensor; a
    module's hyper-parameters are in `Module`. ``source`` is where a function was called, as ``file:line``, if that was
    asked for. The inputs and outputs of a module have names, as in `Leave`. ``sequence_nr`` is as in `Enter`, of calls
    with a number. ``hook`` says that a hook around a module's forward called it. ``collective`` is the number of the
    `Collective` that the call issued.
    """

    op_type: str
    start_ns: Int64
    stop_ns: Int64
    target: str = ""
    module: Int64 | None = None
    call: Int64 | None = None
    inputs: tuple[Int64, ...] = ()
    outputs: tuple[Output, ...] = ()
    writes: tuple[Int64, ...] = ()
    attributes: dict[str, Any] = {}
    error: str | None = None
    outermost: bool = False
    recomputed: bool = False
    source: str | None = None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    sequence_nr: Int64 | None = None
    hook: bool = False
    collective: Int64 | None = None


class Derived(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="derived"):
    """Autograd says that ``tensor``, made unseen, was computed from ``sources``."""

    tensor: Int64
    sources: tuple[Int64, ...]


class Digest(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What two recordings compare of a tensor. ``sample``: up to 32 of its elements, the same ones of any tensor that
    has as many, in whatever dtype, layout or device, in order; null for what is not finite. ``sketch``: up to 32 sums
    of all finite elements, each added or subtracted: the distance of two sketches is about that of the tensors. Of a
    complex tensor both are of real and imaginary parts in turn. ``bits`` is a sum over the bits of all elements, in
    which their order does not count: equal where all bits are, and only then, but for one case in 2 ** 48, and what
    only changed places.
    """

    sample: tuple[float | None, ...]
    sketch: tuple[float, ...]
    bits: Int64


class ValueStats(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What is in a value of forward. ``norm`` (the 2-norm), ``largest`` magnitude and ``mean`` are over its finite
    elements, 0 if there is none; ``nan`` and ``inf`` count the others; ``zeros`` is the share of zeros among all
    elements, from 0 to 1. Of a complex tensor all of this is said of the magnitudes. ``digest`` is None where it was
    not asked for.
    """

    norm: float
    largest: float
    mean: float
    nan: Int64 = 0
    inf: Int64 = 0
    zeros: float = 0.0
    digest: Digest | None = None


class Measured(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="measured"):
    """What is in a tensor now: right after the call that made or wrote it, or before the one that is given it."""

    tensor: Int64
    stats: ValueStats


class NotFinite(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="held"):
    """Which parameters and buffers of modules are not finite from here on: with NaN, with Inf and no NaN; and of which
    nothing can be known. All others are finite. Files call it "held".
    """

    nan: tuple[Int64, ...] = ()
    inf: tuple[Int64, ...] = ()
    unknown: tuple[Int64, ...] = ()


class GradStats(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What is in a gradient. ``norm`` (the 2-norm) and ``largest`` magnitude are over its finite elements; ``nan`` and
    ``inf`` count the others; ``zeros`` is the share of zeros among all elements, from 0 to 1.
    """

    norm: float
    largest: float
    nan: Int64 = 0
    inf: Int64 = 0
    zeros: float = 0.0
    digest: Digest | None = None


class Grad(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="grad"):
    """Backward reached (``arrive``) or left (``leave``) what a call computed.

    ``backward`` numbers the backward pass. ``gradients`` describe the gradients with regard to the outputs (``arrive``)
    or the inputs (``leave``) of the call's last autograd node, None where there is none. ``stats`` say what is in
    each of them; empty if nothing was measured, None where that could not be. ``sequence_nr`` is the number of that
    autograd node; None where the gradients were told by another one.
    """

    call: Int64
    phase: Literal["arrive", "leave"]
    ns: Int64
    backward: Int64 = 0
    gradients: tuple[TensorMeta | None, ...] = ()
    stats: tuple[GradStats | None, ...] = ()
    sequence_nr: Int64 | None = None


class ParameterGrad(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="parameter_grad"
):
    """A gradient was accumulated in a parameter. ``gradient`` is the parameter's ``grad`` right afterwards: with what
    earlier passes left there, and without what hooks of the user's make of it. ``backward`` numbers the pass.
    """

    tensor: Int64
    ns: Int64
    backward: Int64 = 0
    gradient: TensorMeta | None = None
    stats: GradStats | None = None


class BackwardStart(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="backward_start"
):
    """Backward is called on a tensor, as it is described here; recorded where gradients are measured. ``stats`` say
    what is in it, None where that could not be measured.
    """

    tensor: Int64
    meta: TensorMeta
    stats: GradStats | None = None


class Uncalled(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A module of which no call was recorded, nor of anything in it. ``tensors`` are the parameters and buffers."""

    fqn: str
    op_type: str
    tensors: tuple[Int64, ...] = ()


class Holdings(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="holdings"):
    """A block of the recorder's ends. What is said last counts, for all of the recording.

    ``modules`` are those of the called modules that are parts of a recorded model. ``parameters`` are those of the
    models, and what else these held when the block began. Other modules and parameters are not registered. ``uncalled``
    are the outermost modules without a call. ``unseen`` says that what requires a gradient may have been made of
    these where the recording did not look; ``nothing``, why nothing was recorded. A part of a recording may lack some
    of the tensors and modules.
    """

    modules: tuple[Int64, ...] = ()
    parameters: tuple[Int64, ...] = ()
    uncalled: tuple[Uncalled, ...] = ()
    unseen: bool = False
    nothing: str | None = None


Event = (
    Module
    | Members
    | Tensor
    | Enter
    | Leave
    | Op
    | Derived
    | Measured
    | NotFinite
    | Grad
    | ParameterGrad
    | BackwardStart
    | Holdings
    | Storage
    | Freed
    | Kept
    | OptimizerStep
    | Allocated
    | Group
    | Collective
    | Carried
    | RankSummary
)
"""Any record of a stream."""


class Header(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="header"):
    """The first line of a saved stream. ``model`` is the class of the first recorded module, ``created`` an ISO 8601
    time in UTC.
    """

    schema_version: int = SCHEMA_VERSION
    torch: str = ""
    model: str = ""
    created: str = ""
    meta: dict[str, Any] = {}
