//! Device memory.

use std::marker::PhantomData;
use std::mem::{size_of, size_of_val};
use std::ptr;

use bytemuck::Pod;
use hip_sys::bindings::hipMemcpyKind;

use crate::device::Device;
use crate::result::{Error, Result, call};
use crate::stream::Stream;

/// `len` elements in the memory of a device.
pub struct Buffer<T> {
    device: Device,
    /// Null if there are no bytes.
    address: *mut std::ffi::c_void,
    len: usize,
    element: PhantomData<T>,
}

// SAFETY: the address is the device's, read and written by calls of HIP only, which may be made from any thread; it is
// freed once, by the only owner. Elements are plain data.
unsafe impl<T: Pod + Send> Send for Buffer<T> {}
// SAFETY: as above; writing takes `&mut self`, or an unsafe launch that answers for it.
unsafe impl<T: Pod + Sync> Sync for Buffer<T> {}

impl<T: Pod> Buffer<T> {
    pub(crate) fn new(device: &Device, len: usize) -> Result<Self> {
        let num_bytes = len.checked_mul(size_of::<T>()).ok_or(Error::Value {
            what: "the length of a buffer",
            allowed: "less than the address space",
            found: len.to_string(),
        })?;
        let mut address = ptr::null_mut();
        if num_bytes > 0 {
            device.make_current()?;
            // SAFETY: the pointer is to a pointer that outlives the call.
            unsafe { call!(device.runtime(), hipMalloc(&mut address, num_bytes as _)) }?;
        }
        Ok(Buffer { device: device.clone(), address, len, element: PhantomData })
    }

    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it lies on the device.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address as u64
    }

    /// Where its element `idx` lies on the device.
    pub(crate) fn address_of(&self, idx: usize) -> u64 {
        self.address() + (idx * size_of::<T>()) as u64
    }

    /// Copies `values` in, after what `stream` was given before, and waits for it.
    ///
    /// # Errors
    ///
    /// If the lengths differ; HIP's.
    pub fn copy_from_host(&mut self, stream: &Stream, values: &[T]) -> Result<()> {
        self.check_len("the source of a copy", values.len())?;
        // SAFETY: `values` has the buffer's length, checked above, and outlives the copy, which is waited for.
        unsafe {
            self.copy(
                stream,
                self.address,
                values.as_ptr().cast(),
                hipMemcpyKind::hipMemcpyHostToDevice,
            )
        }
    }

    /// Copies `values` to the elements from `first` on, after what `stream` was given before, and waits for it.
    ///
    /// # Errors
    ///
    /// If they reach past the end; HIP's.
    pub fn write_at(&mut self, stream: &Stream, first: usize, values: &[T]) -> Result<()> {
        self.check_at_least("the target of a copy", first.saturating_add(values.len()))?;
        if !values.is_empty() {
            // SAFETY: the elements are the buffer's, checked above; `values` outlives the copy, which is waited for.
            unsafe {
                call!(
                    self.device.runtime(),
                    hipMemcpyAsync(
                        self.address_of(first) as _,
                        values.as_ptr().cast(),
                        size_of_val(values) as _,
                        hipMemcpyKind::hipMemcpyHostToDevice,
                        stream.handle()
                    )
                )
            }?;
        }
        stream.synchronize()
    }

    /// Copies the elements from `first` on to `values`, after what `stream` was given before, and waits for it.
    ///
    /// # Errors
    ///
    /// If they reach past the end; HIP's.
    pub fn read_at(&self, stream: &Stream, first: usize, values: &mut [T]) -> Result<()> {
        self.check_at_least("the source of a copy", first.saturating_add(values.len()))?;
        if !values.is_empty() {
            // SAFETY: the elements are the buffer's, checked above; `values` outlives the copy, which is waited for, and
            // any bytes are a T.
            unsafe {
                call!(
                    self.device.runtime(),
                    hipMemcpyAsync(
                        values.as_mut_ptr().cast(),
                        self.address_of(first) as _,
                        size_of_val(values) as _,
                        hipMemcpyKind::hipMemcpyDeviceToHost,
                        stream.handle()
                    )
                )
            }?;
        }
        stream.synchronize()
    }

    /// Copies everything out, after what `stream` was given before, and waits for it.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn to_host(&self, stream: &Stream) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); self.len];
        // SAFETY: `values` has the buffer's length and outlives the copy, which is waited for; any bytes are a T.
        unsafe {
            self.copy(
                stream,
                values.as_mut_ptr().cast(),
                self.address,
                hipMemcpyKind::hipMemcpyDeviceToHost,
            )
        }?;
        Ok(values)
    }

    /// Has `stream` set every byte to `value`.
    ///
    /// # Errors
    ///
    /// HIP's.
    pub fn fill_bytes(&mut self, stream: &Stream, value: u8) -> Result<()> {
        if self.num_bytes() == 0 {
            return Ok(());
        }
        // SAFETY: the range is that of the allocation, which hipFree, in Drop, frees after the work on it.
        Ok(unsafe {
            call!(
                self.device.runtime(),
                hipMemsetAsync(self.address, value.into(), self.num_bytes() as _, stream.handle())
            )
        }?)
    }

    /// An error unless it has `expected` elements.
    pub(crate) fn check_len(&self, what: &'static str, expected: usize) -> Result<()> {
        if self.len == expected {
            return Ok(());
        }
        Err(Error::Length { what, expected, found: self.len })
    }

    /// An error unless it has `least` elements or more.
    pub(crate) fn check_at_least(&self, what: &'static str, least: usize) -> Result<()> {
        if self.len >= least {
            return Ok(());
        }
        Err(Error::Length { what, expected: least, found: self.len })
    }

    fn num_bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// # Safety
    ///
    /// Both addresses must be valid for the buffer's length until this returns.
    unsafe fn copy(
        &self,
        stream: &Stream,
        to: *mut std::ffi::c_void,
        from: *const std::ffi::c_void,
        kind: hipMemcpyKind,
    ) -> Result<()> {
        if self.num_bytes() > 0 {
            // SAFETY: the caller's.
            unsafe {
                call!(
                    self.device.runtime(),
                    hipMemcpyAsync(to, from, self.num_bytes() as _, kind, stream.handle())
                )
            }?;
        }
        stream.synchronize()
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if !self.address.is_null() {
            // SAFETY: the address is hipMalloc's, and nothing uses it after this: hipFree waits for the device's work. An
            // error has nobody to be told to.
            let _ = unsafe { call!(self.device.runtime(), hipFree(self.address)) };
        }
    }
}
