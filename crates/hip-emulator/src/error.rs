//! Error codes, and how a call reports one.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hip_sys::bindings::hipError_t;

use crate::runtime::{self, Runtime};

/// Why a call fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the caller gets.
    pub code: hipError_t,
    /// What a reader gets; `None` where the code says all.
    pub text: Option<String>,
}

impl Failure {
    /// A code with the reason for it.
    pub fn new(code: hipError_t, text: impl Display) -> Self {
        Self { code, text: Some(text.to_string()) }
    }
}

impl From<hipError_t> for Failure {
    fn from(code: hipError_t) -> Self {
        Self { code, text: None }
    }
}

/// What a call comes to.
pub type Result<T = ()> = std::result::Result<T, Failure>;

thread_local! {
    /// What `hipGetLastError` gives.
    static LAST: Cell<hipError_t> = const { Cell::new(hipError_t::hipSuccess) };
    /// Keeps the text that `kvasirEmuLastFault` gave out.
    static TEXT: RefCell<CString> = RefCell::default();
}

/// Runs the body of the function `name`: nothing that goes wrong in it gets to the caller but as a code.
pub fn entry(name: &str, body: impl FnOnce(&mut Runtime) -> Result) -> hipError_t {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut runtime = runtime::lock()?;
        let result = body(&mut runtime);
        if let Err(Failure { code, text: Some(text) }) = &result {
            let text = format!("{name}: {text} ({})", name_of(*code).unwrap_or("unknown error"));
            eprintln!("hip-emulator: {text}");
            runtime.set_last_text(text);
        }
        result
    }));
    let code = match outcome {
        Ok(Ok(())) => return hipError_t::hipSuccess,
        Ok(Err(failure)) => failure.code,
        Err(_) => {
            eprintln!("hip-emulator: {name} panicked, which is a mistake in the emulator");
            hipError_t::hipErrorUnknown
        }
    };
    // Not being ready is an answer, not an error.
    if code != hipError_t::hipErrorNotReady {
        LAST.set(code);
    }
    code
}

/// The last error of this thread.
pub fn peek_last() -> hipError_t {
    LAST.get()
}

/// The same, and forgets it.
pub fn take_last() -> hipError_t {
    LAST.replace(hipError_t::hipSuccess)
}

/// Keeps `text` as long as this thread does not ask again.
pub fn keep_text(text: String) -> *const std::ffi::c_char {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    TEXT.with_borrow_mut(|kept| {
        *kept = text;
        kept.as_ptr()
    })
}

/// The constant's name, without what C needs around it.
pub fn name_of(code: hipError_t) -> Option<&'static str> {
    find(code).and_then(|(_, name, _)| name.to_str().ok())
}

/// Name and description of a code.
pub fn find(code: hipError_t) -> Option<&'static (hipError_t, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|(known, ..)| *known == code)
}

macro_rules! table {
    ($($name:ident $text:literal)*) => {
        const TABLE: &[(hipError_t, &CStr, &CStr)] = &[
            $((
                hipError_t::$name,
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!(),
                },
                $text,
            ),)*
        ];
    };
}

table! {
    hipSuccess c"no error"
    hipErrorInvalidValue c"invalid argument"
    hipErrorOutOfMemory c"out of memory"
    hipErrorNotInitialized c"initialization error"
    hipErrorDeinitialized c"driver shutting down"
    hipErrorInvalidConfiguration c"invalid configuration argument"
    hipErrorInvalidPitchValue c"invalid pitch argument"
    hipErrorInvalidSymbol c"invalid device symbol"
    hipErrorInvalidDevicePointer c"invalid device pointer"
    hipErrorInvalidMemcpyDirection c"invalid copy direction for memcpy"
    hipErrorInsufficientDriver c"driver version is insufficient for runtime version"
    hipErrorMissingConfiguration c"missing configuration"
    hipErrorPriorLaunchFailure c"unspecified launch failure in prior launch"
    hipErrorInvalidDeviceFunction c"invalid device function"
    hipErrorNoDevice c"no device"
    hipErrorInvalidDevice c"invalid device ordinal"
    hipErrorInvalidImage c"device kernel image is invalid"
    hipErrorInvalidContext c"invalid device context"
    hipErrorMapFailed c"mapping failed"
    hipErrorUnmapFailed c"unmapping failed"
    hipErrorNoBinaryForGpu c"no kernel image is available for execution on the device"
    hipErrorUnsupportedLimit c"limit is not supported"
    hipErrorPeerAccessUnsupported c"peer access is not supported"
    hipErrorInvalidKernelFile c"invalid kernel file"
    hipErrorInvalidSource c"device kernel image is invalid"
    hipErrorFileNotFound c"file not found"
    hipErrorSharedObjectSymbolNotFound c"shared object symbol not found"
    hipErrorSharedObjectInitFailed c"shared object initialization failed"
    hipErrorOperatingSystem c"operating system call failed"
    hipErrorInvalidHandle c"invalid resource handle"
    hipErrorIllegalState c"the operation cannot be performed in the present state"
    hipErrorNotFound c"named symbol not found"
    hipErrorNotReady c"device not ready"
    hipErrorIllegalAddress c"an illegal memory access was encountered"
    hipErrorLaunchOutOfResources c"too many resources requested for launch"
    hipErrorLaunchTimeOut c"the launch timed out and was terminated"
    hipErrorPeerAccessAlreadyEnabled c"peer access is already enabled"
    hipErrorPeerAccessNotEnabled c"peer access has not been enabled"
    hipErrorContextIsDestroyed c"context is destroyed"
    hipErrorAssert c"device-side assert triggered"
    hipErrorHostMemoryAlreadyRegistered c"host memory is already registered"
    hipErrorHostMemoryNotRegistered c"host memory is not registered"
    hipErrorLaunchFailure c"unspecified launch failure"
    hipErrorCooperativeLaunchTooLarge c"too many blocks in cooperative launch"
    hipErrorNotSupported c"operation not supported"
    hipErrorUnknown c"unknown error"
}
