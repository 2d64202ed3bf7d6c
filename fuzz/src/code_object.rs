//! What must hold of every code object that the reader accepts: places are inside, the image can be made, kernels
//! begin in code, arguments fit their segment. The reader's own tests include this file.

use code_object::{Argument, CodeObject, Dispatch, Kernel, Relocation, Target, ValueKind};

/// Images beyond this are not made: nothing is wrong with a large array, but it takes time.
const MAX_IMAGE_BYTES: u64 = 1 << 22;

/// Any bytes as a code object or a bundle of them. Whether one was accepted.
pub fn code_object(bytes: &[u8]) -> bool {
    let read = |at: u64, num_bytes: u64| {
        let (start, end) =
            (usize::try_from(at).ok()?, usize::try_from(at.checked_add(num_bytes)?).ok()?);
        bytes.get(start..end).map(<[u8]>::to_vec)
    };
    // A size that is too large is the caller's to notice; here it only must come without a panic.
    let _ = code_object::container_bytes(read);
    let _ = code_object::entries(bytes);
    let Ok(files) = code_object::extract(bytes, Target::MI300X) else {
        return false;
    };
    let objects: Vec<CodeObject> =
        files.iter().filter_map(|file| CodeObject::parse(file).ok()).collect();
    objects.iter().for_each(assert_object);
    !objects.is_empty()
}

fn assert_object(object: &CodeObject) {
    let image_bytes = object.image_bytes();
    assert!(object.alignment.is_power_of_two());
    for pair in object.segments.windows(2) {
        assert!(pair[0].address + pair[0].num_bytes <= pair[1].address);
    }
    for segment in &object.segments {
        assert!(segment.bytes.len() as u64 <= segment.num_bytes);
        assert!(segment.address + segment.num_bytes <= image_bytes);
    }
    for relocation in &object.relocations {
        assert!(relocation.offset + Relocation::NUM_BYTES as u64 <= image_bytes);
    }
    for symbol in object.symbols.values() {
        assert!(symbol.address + symbol.num_bytes <= image_bytes);
    }
    if image_bytes <= MAX_IMAGE_BYTES {
        assert_eq!(object.image(0x1000_0000).len() as u64, image_bytes);
    }
    object.kernels.iter().for_each(|kernel| assert_kernel(object, kernel));
}

fn assert_kernel(object: &CodeObject, kernel: &Kernel) {
    let entry = kernel.entry();
    let code = object.segments.iter().filter(|segment| segment.is_executable);
    assert!(code.into_iter().any(|segment| {
        let end = segment.address + segment.bytes.len() as u64;
        segment.address <= entry && entry + 4 <= end
    }));
    let sgprs = kernel.descriptor.user_sgprs();
    assert!(
        sgprs.iter().all(|(_, first, count)| first + count <= kernel.descriptor.user_sgpr_count)
    );
    let Some(metadata) = &kernel.metadata else {
        return;
    };
    // The one valid way to call it either gives a whole segment or says why there is none.
    let zeros = [0; 1 << 16];
    let args: Vec<Argument<'_>> = metadata
        .explicit_args()
        .map(|arg| match arg.value_kind {
            ValueKind::GlobalBuffer if arg.size == 8 => Argument::Pointer(0),
            _ => Argument::Bytes(&zeros[..arg.size as usize]),
        })
        .collect();
    let segments = [
        kernel.kernarg(&args, &Dispatch::default()),
        kernel.kernarg_from_buffer(&zeros, &Dispatch::default()),
    ];
    for segment in segments.into_iter().flatten() {
        assert_eq!(segment.bytes.len(), metadata.kernarg_segment_size as usize);
    }
}
