//! HIP's error codes as `Result`, with the name of the call.

use std::ffi::CStr;
use std::fmt;

use code_object::KernargError;
use engine_core::dtype::DType;
use hip_sys::LoadError;
use hip_sys::bindings::{Hip, hipError_t};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A code that a call of HIP returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HipError {
    /// The function: `hipMalloc`.
    pub call: &'static str,
    /// The code, for example 2.
    pub code: u32,
    /// Its name: `hipErrorOutOfMemory`.
    pub name: String,
    /// What the library says of it.
    pub description: String,
}

impl fmt::Display for HipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HipError { call, code, name, description } = self;
        write!(f, "{call}: {description} ({name}, error {code})")
    }
}

impl std::error::Error for HipError {}

/// What can go wrong on the way to a kernel's result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No HIP runtime.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A HIP runtime, and no GPU that it can use.
    #[error(
        "no ROCm device ({0}): this needs a GPU and its driver, or KVASIR_HIP_LIBRARY set to the emulator"
    )]
    NoDevice(HipError),
    /// There is no device of this number.
    #[error("no device {ordinal}: there are {num_devices}")]
    NoSuchDevice {
        /// What was asked for.
        ordinal: u32,
        /// How many there are.
        num_devices: u32,
    },
    /// A call failed.
    #[error(transparent)]
    Hip(#[from] HipError),
    /// The build had no compiler.
    #[error(
        "{variant} is not in this build, which found no hipcc: run `cargo xtask hip-toolchain` and build again"
    )]
    NoKernels {
        /// The variant.
        variant: String,
    },
    /// The build left a variant out.
    #[error(
        "{variant} is not in this build, which has {}: build with --features {}",
        variants.join(", "), variant.replace('_', "-")
    )]
    NoVariant {
        /// What was asked for.
        variant: String,
        /// What there is.
        variants: Vec<String>,
    },
    /// The build left an architecture out.
    #[error(
        "{variant} was built for {}, not for {arch}: build with KVASIR_HIP_ARCHS={arch}",
        archs.join(", ")
    )]
    NoArch {
        /// The variant.
        variant: String,
        /// The device's architecture.
        arch: String,
        /// What there is.
        archs: Vec<String>,
    },
    /// A format that the backend does not compute in.
    #[error(
        "the HIP backend computes in bfloat16 or float16, not in {found}: set --dtype to one of them, or --backend to cpu"
    )]
    ComputeDType {
        /// What was asked for.
        found: DType,
    },
    /// A file that is no code object.
    #[error("the code object cannot be read: {0}")]
    CodeObject(#[from] code_object::Error),
    /// A code object without the kernel.
    #[error("no kernel {kernel} in the code object, which has {}", kernels.join(", "))]
    NoKernel {
        /// What was asked for.
        kernel: String,
        /// What there is.
        kernels: Vec<String>,
    },
    /// Arguments that are not the kernel's.
    #[error(transparent)]
    Arguments(#[from] KernargError),
    /// A grid or work-group that the kernel or HIP does not allow.
    #[error("{kernel}: {reason}")]
    Geometry {
        /// The kernel.
        kernel: String,
        /// What is wrong, with the numbers.
        reason: String,
    },
    /// Two sizes that should agree.
    #[error("{what}: {found} elements, where {expected} are needed")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// What it should have.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// A shape that no variant of the op serves.
    #[error("{op}: no variant serves {shape}: {}", reasons.join("; "))]
    NotServed {
        /// The op.
        op: &'static str,
        /// The shape, in words.
        shape: String,
        /// What each variant says.
        reasons: Vec<String>,
    },
    /// A variant that was asked for by name and cannot be had.
    #[error("--pin {op}={variant}: {reason}")]
    Pin {
        /// The op.
        op: String,
        /// The variant.
        variant: String,
        /// Why not, with what there is.
        reason: String,
    },
    /// Ops that a token's row may go through either of, with variants that sum in different orders.
    #[error(
        "{op} would take {variant} and {other_op} {other_variant}, which sum differently: a token's numbers would depend \
         on how it is scheduled; {}",
        partners(other_op, variant, alike)
    )]
    ReductionClasses {
        /// An op.
        op: &'static str,
        /// What it would take.
        variant: &'static str,
        /// The other op.
        other_op: &'static str,
        /// What that would take.
        other_variant: &'static str,
        /// The variants of the other op that sum as `variant` does.
        alike: Vec<&'static str>,
    },
    /// A number that an op does not accept.
    #[error("{what} is {found}, and must be {allowed}")]
    Value {
        /// Which number.
        what: &'static str,
        /// What is allowed.
        allowed: &'static str,
        /// What was given.
        found: String,
    },
}

/// What to do about ops that sum differently.
fn partners(other_op: &str, variant: &str, alike: &[&str]) -> String {
    match alike {
        [] => format!("no variant of {other_op} sums as {variant} does: pin another one"),
        [first, others @ ..] => {
            let or = others.iter().map(|name| format!(" or {name}")).collect::<String>();
            format!("add --pin {other_op}={first}{or}")
        }
    }
}

/// The result of the function `call`, which returned `code`.
pub(crate) fn check(
    hip: &Hip,
    call: &'static str,
    code: hipError_t,
) -> std::result::Result<(), HipError> {
    if code == hipError_t::hipSuccess {
        return Ok(());
    }
    let text = |pointer: *const std::ffi::c_char| {
        if pointer.is_null() {
            return "unknown".to_owned();
        }
        // SAFETY: both functions below return a static string that ends with NUL, for every code, known or not.
        unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
    };
    // SAFETY: they take any code and have no other argument.
    let (name, description) = unsafe { (hip.hipGetErrorName(code), hip.hipGetErrorString(code)) };
    Err(HipError { call, code: code.0, name: text(name), description: text(description) })
}

/// Calls a function of the runtime and checks what it returned. The call is `unsafe`, and stands in the
/// caller's `unsafe` block.
macro_rules! call {
    ($runtime:expr, $function:ident($($arg:expr),* $(,)?)) => {{
        let hip = $runtime.hip();
        $crate::result::check(hip, stringify!($function), hip.$function($($arg),*))
    }};
}
pub(crate) use call;
