//! What the compiler tells the launcher: the note NT_AMDGPU_METADATA, in MessagePack (LLVM, "Code Object Metadata").

use std::fmt;

use rmpv::Value;

use crate::Error;

/// Nesting of the document: map, kernels, kernel, arguments, argument, value, and room to spare.
const MAX_DEPTH: usize = 16;

/// Largest kernarg segment and argument, bytes. AMD's own runtimes stop far below.
pub const MAX_KERNARG_BYTES: u32 = 1 << 16;

/// A coordinate: 0 x, 1 y, 2 z.
pub type Axis = usize;

/// An argument that the launcher fills in by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Hidden {
    /// Whole work-groups of the grid.
    BlockCount(Axis),
    /// Work-items of a whole work-group.
    GroupSize(Axis),
    /// Work-items of the last, partial work-group.
    Remainder(Axis),
    /// First work-item of the grid.
    GlobalOffset(Axis),
    /// Dimensions of the grid.
    GridDims,
    /// LDS that the launch adds, bytes.
    DynamicLdsSize,
    /// High half of the address where scratch memory appears.
    PrivateBase,
    /// High half of the address where LDS appears.
    SharedBase,
    /// Address of the queue.
    QueuePtr,
    /// Nothing: a gap.
    None,
    /// `printf`, by a buffer.
    PrintfBuffer,
    /// `printf` and the like, by calls to the host.
    HostcallBuffer,
    /// `malloc` on the device.
    HeapV1,
    /// Enqueueing from the device.
    DefaultQueue,
    /// Enqueueing from the device.
    CompletionAction,
    /// Grid and multi-device synchronisation.
    MultigridSyncArg,
}

/// What an argument is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ValueKind {
    /// A scalar or a struct.
    ByValue,
    /// A pointer to global memory.
    GlobalBuffer,
    /// What the caller does not pass.
    Hidden(Hidden),
    /// Samplers, images, pipes, and what is not known: such a kernel cannot be launched.
    Other(String),
}

impl ValueKind {
    fn from_name(name: &str) -> Self {
        let Some(hidden) = name.strip_prefix("hidden_") else {
            return match name {
                "by_value" => Self::ByValue,
                "global_buffer" => Self::GlobalBuffer,
                _ => Self::Other(name.to_owned()),
            };
        };
        Hidden::from_name(hidden).map_or_else(|| Self::Other(name.to_owned()), Self::Hidden)
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByValue => f.write_str("by_value"),
            Self::GlobalBuffer => f.write_str("global_buffer"),
            Self::Hidden(hidden) => write!(f, "{hidden:?}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl Hidden {
    fn from_name(name: &str) -> Option<Self> {
        type OnAxis = fn(Axis) -> Hidden;
        const ON_AXES: [(&str, OnAxis); 4] = [
            ("block_count_", Hidden::BlockCount),
            ("group_size_", Hidden::GroupSize),
            ("remainder_", Hidden::Remainder),
            ("global_offset_", Hidden::GlobalOffset),
        ];
        for (prefix, on_axis) in ON_AXES {
            if let Some(axis) = name.strip_prefix(prefix) {
                return ["x", "y", "z"].iter().position(|known| *known == axis).map(on_axis);
            }
        }
        let hidden = match name {
            "grid_dims" => Self::GridDims,
            "dynamic_lds_size" => Self::DynamicLdsSize,
            "private_base" => Self::PrivateBase,
            "shared_base" => Self::SharedBase,
            "queue_ptr" => Self::QueuePtr,
            "none" => Self::None,
            "printf_buffer" => Self::PrintfBuffer,
            "hostcall_buffer" => Self::HostcallBuffer,
            "heap_v1" => Self::HeapV1,
            "default_queue" => Self::DefaultQueue,
            "completion_action" => Self::CompletionAction,
            "multigrid_sync_arg" => Self::MultigridSyncArg,
            _ => return None,
        };
        Some(hidden)
    }
}

/// One argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgumentMetadata {
    /// Its name in the source, where the compiler kept it.
    pub name: Option<String>,
    /// Its type in the source, where the compiler kept it.
    pub type_name: Option<String>,
    /// Its place in the kernarg segment, bytes.
    pub offset: u32,
    /// Its size, bytes.
    pub size: u32,
    /// What it is.
    pub value_kind: ValueKind,
    /// Where a pointer points to: `global`, `constant`, `generic`, …
    pub address_space: Option<String>,
}

/// What the compiler says about a kernel. Names are those of the note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelMetadata {
    /// The name in the source.
    pub name: String,
    /// The symbol of the kernel descriptor.
    pub symbol: String,
    /// All arguments, hidden ones included.
    pub args: Vec<ArgumentMetadata>,
    /// Bytes of the kernarg segment.
    pub kernarg_segment_size: u32,
    /// Its alignment.
    pub kernarg_segment_align: u32,
    /// LDS that every work-group needs, bytes.
    pub group_segment_fixed_size: u32,
    /// Scratch memory of a lane, bytes.
    pub private_segment_fixed_size: u32,
    /// Lanes of a wave.
    pub wavefront_size: u32,
    /// SGPRs in use.
    pub sgpr_count: u32,
    /// VGPRs in use, AccVGPRs included.
    pub vgpr_count: u32,
    /// AccVGPRs in use.
    pub agpr_count: u32,
    /// SGPRs that were spilled.
    pub sgpr_spill_count: u32,
    /// VGPRs that were spilled.
    pub vgpr_spill_count: u32,
    /// Most work-items of a work-group.
    pub max_flat_workgroup_size: u32,
    /// The only work-group size that the kernel is compiled for.
    pub reqd_workgroup_size: Option<[u32; 3]>,
    /// Whether the grid must be whole work-groups.
    pub uniform_work_group_size: bool,
    /// Whether the stack's size is not known before.
    pub uses_dynamic_stack: bool,
}

impl KernelMetadata {
    /// The arguments that the caller passes, in order.
    pub fn explicit_args(&self) -> impl Iterator<Item = &ArgumentMetadata> {
        self.args.iter().filter(|arg| !matches!(arg.value_kind, ValueKind::Hidden(_)))
    }
}

/// The whole note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// `amdhsa.target`, such as `amdgcn-amd-amdhsa--gfx942`.
    pub target: Option<String>,
    /// Whether a kernel prints by formats that the launcher would have to know.
    pub has_printf: bool,
    /// The kernels.
    pub kernels: Vec<KernelMetadata>,
}

impl Metadata {
    /// Reads the note's contents.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Error> {
        let value = rmpv::decode::read_value_with_max_depth(&mut bytes, MAX_DEPTH)
            .map_err(|error| Error::Metadata(format!("not MessagePack: {error}")))?;
        let document = Map::of(&value, "the document")?;
        let kernels = document.array("amdhsa.kernels")?.unwrap_or_default();
        Ok(Self {
            target: document.string("amdhsa.target")?,
            has_printf: document.array("amdhsa.printf")?.is_some_and(|lines| !lines.is_empty()),
            kernels: kernels.iter().map(read_kernel).collect::<Result<_, _>>()?,
        })
    }
}

fn read_kernel(value: &Value) -> Result<KernelMetadata, Error> {
    let kernel = Map::of(value, "a kernel")?;
    let kernarg_segment_size = kernel.required(".kernarg_segment_size")?;
    if kernarg_segment_size > MAX_KERNARG_BYTES {
        return Err(Error::TooLarge {
            what: ".kernarg_segment_size",
            num_bytes: kernarg_segment_size.into(),
            limit: MAX_KERNARG_BYTES.into(),
        });
    }
    let args = kernel.array(".args")?.unwrap_or_default();
    let args = args.iter().map(|arg| read_argument(arg, kernarg_segment_size));
    Ok(KernelMetadata {
        name: kernel.required_string(".name")?,
        symbol: kernel.required_string(".symbol")?,
        args: args.collect::<Result<_, _>>()?,
        kernarg_segment_size,
        kernarg_segment_align: kernel.required(".kernarg_segment_align")?,
        group_segment_fixed_size: kernel.required(".group_segment_fixed_size")?,
        private_segment_fixed_size: kernel.required(".private_segment_fixed_size")?,
        wavefront_size: kernel.required(".wavefront_size")?,
        sgpr_count: kernel.required(".sgpr_count")?,
        vgpr_count: kernel.required(".vgpr_count")?,
        agpr_count: kernel.number(".agpr_count")?.unwrap_or(0),
        sgpr_spill_count: kernel.number(".sgpr_spill_count")?.unwrap_or(0),
        vgpr_spill_count: kernel.number(".vgpr_spill_count")?.unwrap_or(0),
        max_flat_workgroup_size: kernel.required(".max_flat_workgroup_size")?,
        reqd_workgroup_size: kernel.three_numbers(".reqd_workgroup_size")?,
        uniform_work_group_size: kernel.number(".uniform_work_group_size")?.unwrap_or(0) != 0,
        uses_dynamic_stack: kernel.boolean(".uses_dynamic_stack")?.unwrap_or(false),
    })
}

fn read_argument(value: &Value, kernarg_segment_size: u32) -> Result<ArgumentMetadata, Error> {
    let arg = Map::of(value, "an argument")?;
    let (offset, size) = (arg.required(".offset")?, arg.required(".size")?);
    if offset.checked_add(size).is_none_or(|end| end > kernarg_segment_size) {
        return Err(Error::Metadata(format!(
            "an argument of {size} bytes at {offset} leaves the kernarg segment of \
             {kernarg_segment_size} bytes"
        )));
    }
    Ok(ArgumentMetadata {
        name: arg.string(".name")?,
        type_name: arg.string(".type_name")?,
        offset,
        size,
        value_kind: ValueKind::from_name(&arg.required_string(".value_kind")?),
        address_space: arg.string(".address_space")?,
    })
}

/// A map of the document, asked by key. A value of another type than the format says is an error.
struct Map<'a>(&'a [(Value, Value)]);

impl<'a> Map<'a> {
    fn of(value: &'a Value, what: &str) -> Result<Self, Error> {
        value.as_map().map(|pairs| Self(pairs)).ok_or_else(|| mistyped(what, "a map", value))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find(|(found, _)| found.as_str() == Some(key)).map(|(_, value)| value)
    }

    fn number(&self, key: &str) -> Result<Option<u32>, Error> {
        let read = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| mistyped(key, "a 32-bit number", value))
        };
        self.get(key).map(read).transpose()
    }

    fn required(&self, key: &str) -> Result<u32, Error> {
        self.number(key)?.ok_or_else(|| missing(key))
    }

    fn string(&self, key: &str) -> Result<Option<String>, Error> {
        let read = |value: &Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| mistyped(key, "a string", value))
        };
        self.get(key).map(read).transpose()
    }

    fn required_string(&self, key: &str) -> Result<String, Error> {
        self.string(key)?.ok_or_else(|| missing(key))
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        let read =
            |value: &Value| value.as_bool().ok_or_else(|| mistyped(key, "a truth value", value));
        self.get(key).map(read).transpose()
    }

    fn array(&self, key: &str) -> Result<Option<&'a [Value]>, Error> {
        let read = |value: &'a Value| {
            let array = value.as_array().map(Vec::as_slice);
            array.ok_or_else(|| mistyped(key, "an array", value))
        };
        self.get(key).map(read).transpose()
    }

    fn three_numbers(&self, key: &str) -> Result<Option<[u32; 3]>, Error> {
        let Some(array) = self.array(key)? else {
            return Ok(None);
        };
        let numbers = array.iter().map(|value| value.as_u64().and_then(|n| u32::try_from(n).ok()));
        let numbers: Option<Vec<u32>> = numbers.collect();
        let three = numbers.and_then(|numbers| numbers.try_into().ok());
        three.map(Some).ok_or_else(|| Error::Metadata(format!("{key} is not three numbers")))
    }
}

fn missing(key: &str) -> Error {
    Error::Metadata(format!("{key} is missing"))
}

fn mistyped(key: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Nil => "nothing",
        Value::Boolean(_) => "a truth value",
        Value::Integer(_) => "a number",
        Value::F32(_) | Value::F64(_) => "a fraction",
        Value::String(_) => "a string",
        Value::Binary(_) | Value::Ext(..) => "bytes",
        Value::Array(_) => "an array",
        Value::Map(_) => "a map",
    };
    Error::Metadata(format!("{key} is {found} where {wanted} belongs"))
}
