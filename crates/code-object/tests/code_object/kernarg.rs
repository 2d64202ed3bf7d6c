//! Kernarg segments, byte by byte.

use code_object::{Argument, CodeObject, Dispatch, Hidden, KernargError, ValueKind};

use crate::llvm::{self, SOURCE};

const DISPATCH: Dispatch = Dispatch {
    grid: [1000, 6, 5],
    workgroup: [256, 2, 5],
    dynamic_lds_bytes: 4096,
    shared_base: 0x1_0000_0000_0000,
    private_base: 0x2_0000_0000_0000,
    queue_ptr: 0x1234_5678_9abc,
};

/// The committed seed: a kernel of a pointer, an int, and hidden arguments.
fn small() -> CodeObject {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/code_object/small.hsaco");
    CodeObject::parse(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn arguments_lie_where_the_metadata_says() {
    let object = small();
    let kernel = object.kernel("k").unwrap();
    let args = [Argument::Pointer(0x1122_3344_5566_7788), Argument::Value(&[1, 2, 3, 4])];
    let segment = kernel.kernarg(&args, &DISPATCH).unwrap();
    let mut expected = vec![0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1, 2, 3, 4, 0, 0, 0, 0];
    // 1000 / 256 work-groups of 256.
    expected.extend([3, 0, 0, 0, 0, 1]);
    expected.resize(32, 0);
    assert_eq!(segment.bytes, expected);
    assert_eq!(segment.null_pointers, [Hidden::HostcallBuffer]);
    let bytes = 0x1122_3344_5566_7788_u64.to_le_bytes();
    let unsure = [Argument::Bytes(&bytes), Argument::Bytes(&[1, 2, 3, 4])];
    assert_eq!(kernel.kernarg(&unsure, &DISPATCH).unwrap(), segment);
    // Whatever the caller leaves in the place of hidden arguments is overwritten, or not there at all.
    let mut buffer = segment.bytes.clone();
    buffer[12..].fill(0xff);
    assert_eq!(kernel.kernarg_from_buffer(&buffer, &DISPATCH).unwrap(), segment);
    assert_eq!(kernel.kernarg_from_buffer(&buffer[..12], &DISPATCH).unwrap(), segment);
}

#[test]
fn arguments_that_do_not_fit_are_refused_by_number() {
    let object = small();
    let kernel = object.kernel("k").unwrap();
    let check = |args: &[Argument<'_>], expected: &str| {
        assert_eq!(kernel.kernarg(args, &DISPATCH).unwrap_err().to_string(), expected);
    };
    let pointer = Argument::Pointer(0);
    check(&[pointer], "k takes 2 arguments, and 1 are given");
    check(&[pointer; 3], "k takes 2 arguments, and 3 are given");
    check(&[pointer, pointer], "k: argument 1 is a value, and a pointer is given");
    let value = Argument::Value(&[0; 8]);
    check(&[value, value], "k: argument 0 is a pointer, and a value is given");
    check(&[pointer, value], "k: argument 1 has 4 bytes, and 8 are given");
    let error = kernel.kernarg_from_buffer(&[0; 11], &DISPATCH).unwrap_err();
    assert_eq!(
        error.to_string(),
        "k: the argument buffer has 11 bytes, and its arguments end at 12"
    );
}

#[test]
fn kinds_that_cannot_be_made_are_refused() {
    let mut kernel = small().kernels.remove(0);
    let metadata = kernel.metadata.as_mut().unwrap();
    metadata.args[0].value_kind = ValueKind::Other("sampler".to_owned());
    let args = [Argument::Pointer(0), Argument::Value(&[0; 4])];
    let error = kernel.kernarg(&args, &DISPATCH).unwrap_err();
    let (kernel_name, kind) = ("k".to_owned(), "sampler".to_owned());
    assert_eq!(error, KernargError::Unsupported { kernel: kernel_name, kind });
    kernel.metadata = None;
    assert!(matches!(kernel.kernarg(&args, &DISPATCH), Err(KernargError::NoMetadata { .. })));
    assert_eq!(kernel.kernarg_from_buffer(&[7; 9], &DISPATCH).unwrap().bytes, [7; 9]);
}

/// At -O0 the compiler asks for every hidden argument there is.
#[test]
fn all_hidden_arguments_of_code_object_5_are_filled() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let bytes = llvm::compile(&toolchain, SOURCE, &["-O0", "-mcode-object-version=5"]);
    let object = CodeObject::parse(&bytes).unwrap();
    let kernel = object.kernel("_Z10overloadedPy").unwrap();
    let segment = kernel.kernarg(&[Argument::Pointer(8)], &DISPATCH).unwrap();
    assert_eq!(segment.bytes.len(), 8 + 256);
    // LLVM's table of hidden arguments, code object V5: offset after the explicit ones, size, value.
    let table: [(usize, usize, u64); 22] = [
        (0, 4, 3),
        (4, 4, 3),
        (8, 4, 1),
        (12, 2, 256),
        (14, 2, 2),
        (16, 2, 5),
        (18, 2, 1000 % 256),
        (20, 2, 0),
        (22, 2, 0),
        (40, 8, 0),
        (48, 8, 0),
        (56, 8, 0),
        (64, 2, 3),
        (80, 8, 0),
        (88, 8, 0),
        (96, 8, 0),
        (104, 8, 0),
        (112, 8, 0),
        (120, 4, 0),
        (192, 4, 0),
        (196, 4, 0),
        (200, 8, DISPATCH.queue_ptr),
    ];
    let metadata = kernel.metadata.as_ref().unwrap();
    for (offset, size, value) in table {
        let at = 8 + offset;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&segment.bytes[at..at + size]);
        assert_eq!(u64::from_le_bytes(bytes), value, "at {offset}");
    }
    let listed =
        |hidden| metadata.args.iter().any(|arg| arg.value_kind == ValueKind::Hidden(hidden));
    assert!(listed(Hidden::HostcallBuffer) && listed(Hidden::HeapV1));
    assert!(segment.null_pointers.contains(&Hidden::HeapV1));
}

#[test]
fn every_hidden_argument_has_its_value_and_size() {
    let mut kernel = small().kernels.remove(0);
    let args = [Argument::Pointer(0), Argument::Value(&[0; 4])];
    let table: [(Hidden, u32, u64); 12] = [
        (Hidden::BlockCount(1), 4, 3),
        (Hidden::GroupSize(2), 2, 5),
        (Hidden::Remainder(0), 2, 232),
        (Hidden::GlobalOffset(0), 8, 0),
        (Hidden::GridDims, 2, 3),
        (Hidden::DynamicLdsSize, 4, 4096),
        (Hidden::PrivateBase, 4, 0x2_0000),
        (Hidden::SharedBase, 4, 0x1_0000),
        (Hidden::QueuePtr, 8, 0x1234_5678_9abc),
        (Hidden::None, 8, 0),
        (Hidden::PrintfBuffer, 8, 0),
        (Hidden::MultigridSyncArg, 8, 0),
    ];
    for (hidden, size, value) in table {
        let arg = &mut kernel.metadata.as_mut().unwrap().args[4];
        (arg.value_kind, arg.size) = (ValueKind::Hidden(hidden), size);
        let segment = kernel.kernarg(&args, &DISPATCH).unwrap();
        assert_eq!(segment.bytes[24..32], value.to_le_bytes(), "{hidden:?}");
        let is_null = matches!(hidden, Hidden::PrintfBuffer | Hidden::MultigridSyncArg);
        assert_eq!(segment.null_pointers.contains(&hidden), is_null, "{hidden:?}");
    }
    // One of another size than LLVM documents is not what it seems.
    let arg = &mut kernel.metadata.as_mut().unwrap().args[4];
    (arg.value_kind, arg.size) = (ValueKind::Hidden(Hidden::GridDims), 4);
    let error = kernel.kernarg(&args, &DISPATCH).unwrap_err();
    assert_eq!(error.to_string(), "k: argument 4 has 4 bytes, and 2 are given");
}
