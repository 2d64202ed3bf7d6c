//! The kernarg segment: the arguments as the kernel reads them from memory.

use thiserror::Error;

use crate::{ArgumentMetadata, Dispatch, Hidden, Kernel, KernelMetadata, ValueKind};

/// An argument as its caller knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument<'a> {
    /// A device address.
    Pointer(u64),
    /// A scalar or a struct.
    Value(&'a [u8]),
    /// Either: the caller does not know, as in `hipModuleLaunchKernel`.
    Bytes(&'a [u8]),
}

/// The bytes of a kernarg segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernargSegment {
    /// What the kernel reads.
    pub bytes: Vec<u8>,
    /// Hidden pointers that are null, since nobody serves them here. A kernel that uses one (`printf`, `malloc`, grid
    /// synchronisation) will fault, and whoever reports the fault can say why.
    pub null_pointers: Vec<Hidden>,
}

/// Why arguments do not fit a kernel.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum KernargError {
    /// Too few or too many.
    #[error("{kernel} takes {expected} arguments, and {found} are given")]
    Count {
        /// The kernel.
        kernel: String,
        /// How many it takes.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An argument of another size.
    #[error("{kernel}: argument {index} has {expected} bytes, and {found} are given")]
    Size {
        /// The kernel.
        kernel: String,
        /// Which argument, from 0.
        index: usize,
        /// Its size in the kernel.
        expected: u32,
        /// The size of what was given.
        found: usize,
    },
    /// A pointer for a value or a value for a pointer.
    #[error("{kernel}: argument {index} is {expected}, and {found} is given")]
    Kind {
        /// The kernel.
        kernel: String,
        /// Which argument, from 0.
        index: usize,
        /// What the kernel takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// A kind of argument that cannot be made here.
    #[error("{kernel}: arguments of kind {kind} are not supported")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// The kind.
        kind: String,
    },
    /// A segment given as a whole is too short.
    #[error("{kernel}: the argument buffer has {found} bytes, and its arguments end at {expected}")]
    Buffer {
        /// The kernel.
        kernel: String,
        /// Where the last argument ends.
        expected: usize,
        /// The length of what was given.
        found: usize,
    },
    /// Nothing says where the arguments are.
    #[error("{kernel} has no metadata: pass its kernarg segment as a whole")]
    NoMetadata {
        /// The kernel.
        kernel: String,
    },
}

impl Kernel {
    /// The kernarg segment for `args`, in the order of the source.
    pub fn kernarg(
        &self,
        args: &[Argument<'_>],
        dispatch: &Dispatch,
    ) -> Result<KernargSegment, KernargError> {
        let metadata = self
            .metadata
            .as_ref()
            .ok_or_else(|| KernargError::NoMetadata { kernel: self.name.clone() })?;
        let expected = metadata.explicit_args().count();
        if expected != args.len() {
            let kernel = self.name.clone();
            return Err(KernargError::Count { kernel, expected, found: args.len() });
        }
        let mut segment = self.empty_segment(metadata);
        for (index, (arg, given)) in metadata.explicit_args().zip(args).enumerate() {
            self.check_kind(index, arg, given)?;
            match given {
                Argument::Pointer(address) => {
                    self.put(&mut segment, index, arg, &address.to_le_bytes())?;
                }
                Argument::Value(bytes) | Argument::Bytes(bytes) => {
                    self.put(&mut segment, index, arg, bytes)?;
                }
            }
        }
        self.put_hidden(&mut segment, metadata, dispatch)?;
        Ok(segment)
    }

    /// The kernarg segment out of a buffer that holds all explicit arguments in their places, as launches by
    /// `HIP_LAUNCH_PARAM_BUFFER_POINTER` pass it. Without metadata the buffer is the segment.
    pub fn kernarg_from_buffer(
        &self,
        buffer: &[u8],
        dispatch: &Dispatch,
    ) -> Result<KernargSegment, KernargError> {
        let Some(metadata) = &self.metadata else {
            let mut bytes = buffer.to_vec();
            bytes.resize(buffer.len().max(self.descriptor.kernarg_size as usize), 0);
            return Ok(KernargSegment { bytes, null_pointers: Vec::new() });
        };
        let mut segment = self.empty_segment(metadata);
        for (index, arg) in metadata.explicit_args().enumerate() {
            let (start, end) = (arg.offset as usize, arg.offset as usize + arg.size as usize);
            let bytes = buffer.get(start..end).ok_or_else(|| KernargError::Buffer {
                kernel: self.name.clone(),
                expected: end,
                found: buffer.len(),
            })?;
            self.check_kind(index, arg, &Argument::Bytes(bytes))?;
            self.put(&mut segment, index, arg, bytes)?;
        }
        self.put_hidden(&mut segment, metadata, dispatch)?;
        Ok(segment)
    }

    fn empty_segment(&self, metadata: &KernelMetadata) -> KernargSegment {
        let bytes = vec![0; metadata.kernarg_segment_size as usize];
        KernargSegment { bytes, null_pointers: Vec::new() }
    }

    fn check_kind(
        &self,
        index: usize,
        arg: &ArgumentMetadata,
        given: &Argument<'_>,
    ) -> Result<(), KernargError> {
        const POINTER: &str = "a pointer";
        const VALUE: &str = "a value";
        let kernel = || self.name.clone();
        let expected = match &arg.value_kind {
            ValueKind::ByValue => VALUE,
            ValueKind::GlobalBuffer => POINTER,
            kind => {
                return Err(KernargError::Unsupported { kernel: kernel(), kind: kind.to_string() });
            }
        };
        let found = match given {
            Argument::Pointer(_) => POINTER,
            Argument::Value(_) => VALUE,
            Argument::Bytes(_) => expected,
        };
        if found == expected {
            Ok(())
        } else {
            Err(KernargError::Kind { kernel: kernel(), index, expected, found })
        }
    }

    /// Writes one argument; its place was checked when the metadata was read.
    fn put(
        &self,
        segment: &mut KernargSegment,
        index: usize,
        arg: &ArgumentMetadata,
        bytes: &[u8],
    ) -> Result<(), KernargError> {
        let (start, size) = (arg.offset as usize, arg.size as usize);
        match segment.bytes.get_mut(start..start + size) {
            Some(place) if bytes.len() == size => {
                place.copy_from_slice(bytes);
                Ok(())
            }
            _ => Err(KernargError::Size {
                kernel: self.name.clone(),
                index,
                expected: arg.size,
                found: bytes.len(),
            }),
        }
    }

    fn put_hidden(
        &self,
        segment: &mut KernargSegment,
        metadata: &KernelMetadata,
        dispatch: &Dispatch,
    ) -> Result<(), KernargError> {
        for (index, arg) in metadata.args.iter().enumerate() {
            let ValueKind::Hidden(hidden) = arg.value_kind else {
                continue;
            };
            match dispatch.hidden(hidden) {
                Some((value, num_bytes)) => {
                    self.put(segment, index, arg, &value.to_le_bytes()[..num_bytes])?;
                }
                None if hidden == Hidden::None => {}
                None => segment.null_pointers.push(hidden),
            }
        }
        Ok(())
    }
}
