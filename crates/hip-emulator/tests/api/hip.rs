//! The library under test.

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use hip_sys::Library;
use hip_sys::bindings::{Hip, hipError_t, hipFunction_t, hipMemcpyKind, hipModule_t};
use hip_toolchain::Toolchain;

/// Where cargo puts the library: beside the tests, or one folder up.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let candidates = test.ancestors().skip(1).take(2).map(|dir| dir.join("libhip_emulator.so"));
    candidates.into_iter().find(|path| path.exists()).expect("cargo builds the cdylib")
}

/// The library, with nothing allocated, queued or faulted, for one test at a time.
pub struct Emulator {
    library: &'static Library,
    _alone: MutexGuard<'static, ()>,
}

pub fn emulator() -> Emulator {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::open(&path()).unwrap());
    static ALONE: Mutex<()> = Mutex::new(());
    let emulator = Emulator {
        library: &LIBRARY,
        _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
    };
    emulator.set_lazy(false);
    emulator.set_counters(false);
    emulator.set_sanitize(0);
    // SAFETY: no arguments.
    ok(unsafe { emulator.hip().hipDeviceReset() });
    // SAFETY: no arguments.
    let _ = unsafe { emulator.hip().hipGetLastError() };
    emulator
}

#[track_caller]
pub fn ok(code: hipError_t) {
    assert_eq!(code, hipError_t::hipSuccess);
}

impl Emulator {
    pub fn hip(&self) -> &'static Hip {
        self.library.hip()
    }

    fn own<T>(&self, name: &str) -> libloading::Symbol<'static, T> {
        static LIBRARY: LazyLock<libloading::Library> = LazyLock::new(|| {
            // SAFETY: the library is loaded already and has no initialisers of its own.
            unsafe { libloading::Library::new(path()) }.unwrap()
        });
        // SAFETY: the callers name the type that the symbol has.
        unsafe { LIBRARY.get(name.as_bytes()) }.unwrap()
    }

    pub fn set_lazy(&self, is_lazy: bool) {
        let set = self.own::<extern "C" fn(i32)>("kvasirEmuSetLazy");
        set(i32::from(is_lazy));
    }

    pub fn last_fault(&self) -> String {
        self.text("kvasirEmuLastFault")
    }

    fn text(&self, function: &str) -> String {
        let get = self.own::<extern "C" fn() -> *const c_char>(function);
        // SAFETY: the text is kept until this thread asks again.
        unsafe { CStr::from_ptr(get()) }.to_str().unwrap().to_owned()
    }

    pub fn set_counters(&self, counts: bool) {
        let set = self.own::<extern "C" fn(i32)>("kvasirEmuSetCounters");
        set(i32::from(counts));
    }

    pub fn set_sanitize(&self, mode: i32) {
        let set = self.own::<extern "C" fn(i32)>("kvasirEmuSetSanitize");
        set(mode);
    }

    pub fn take_reports(&self) -> serde_json::Value {
        serde_json::from_str(&self.text("kvasirEmuTakeReports")).unwrap()
    }

    pub fn take_findings(&self) -> serde_json::Value {
        serde_json::from_str(&self.text("kvasirEmuTakeFindings")).unwrap()
    }

    pub fn malloc(&self, num_bytes: usize) -> *mut c_void {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: a place for the result.
        ok(unsafe { self.hip().hipMalloc(&mut pointer, num_bytes) });
        pointer
    }

    pub fn pinned(&self, num_bytes: usize) -> *mut c_void {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: a place for the result.
        ok(unsafe { self.hip().hipHostMalloc(&mut pointer, num_bytes, 0) });
        pointer
    }

    pub fn upload<T: Copy>(&self, values: &[T]) -> *mut c_void {
        let num_bytes = size_of_val(values);
        let pointer = self.malloc(num_bytes);
        let kind = hipMemcpyKind::hipMemcpyHostToDevice;
        // SAFETY: both sides have that many bytes.
        ok(unsafe { self.hip().hipMemcpy(pointer, values.as_ptr().cast(), num_bytes, kind) });
        pointer
    }

    pub fn download<T: Copy + Default>(&self, pointer: *mut c_void, len: usize) -> Vec<T> {
        let mut values = vec![T::default(); len];
        let num_bytes = size_of_val(&values[..]);
        let kind = hipMemcpyKind::hipMemcpyDeviceToHost;
        // SAFETY: both sides have that many bytes.
        ok(unsafe { self.hip().hipMemcpy(values.as_mut_ptr().cast(), pointer, num_bytes, kind) });
        values
    }

    pub fn load(&self, image: &[u8]) -> hipModule_t {
        let mut module = std::ptr::null_mut();
        // SAFETY: a whole code object, and a place for the result.
        ok(unsafe { self.hip().hipModuleLoadData(&mut module, image.as_ptr().cast()) });
        module
    }

    pub fn function(&self, module: hipModule_t, name: &CStr) -> hipFunction_t {
        let mut function = std::ptr::null_mut();
        // SAFETY: a string, and a place for the result.
        ok(unsafe { self.hip().hipModuleGetFunction(&mut function, module, name.as_ptr()) });
        function
    }

    /// Launches on the null stream, with a pointer for each argument.
    pub fn launch(
        &self,
        function: hipFunction_t,
        grid: u32,
        block: u32,
        args: &mut [*mut c_void],
    ) -> hipError_t {
        let stream = std::ptr::null_mut();
        // SAFETY: the tests pass what their kernels take.
        unsafe {
            self.hip().hipModuleLaunchKernel(
                function,
                grid,
                1,
                1,
                block,
                1,
                1,
                0,
                stream,
                args.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        }
    }
}

/// The address of an argument, as launches want it.
pub fn arg<T>(value: &mut T) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}

/// Compiles a HIP source.
pub fn compile(toolchain: &Toolchain, source: &str, flags: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("k.hip"), dir.path().join("k.hsaco"));
    std::fs::write(&from, source).unwrap();
    toolchain.compile(&from, "gfx942", flags, &to).unwrap();
    std::fs::read(to).unwrap()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
