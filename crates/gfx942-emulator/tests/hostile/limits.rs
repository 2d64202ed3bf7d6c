//! Kernels that use more than their descriptor allocates.

use code_object::{CodeObject, KernelDescriptor};
use gfx942_emulator::exec::Trap;
use gfx942_emulator::exec::memory::ArenaConfig;
use gfx942_emulator::launch::{Cause, Emulator, Fault, Launch, LaunchError, Settings};

use crate::kernel::{CODE, NAME, code_object};

/// What a descriptor says, where it matters here.
#[derive(Clone, Copy, Default)]
struct Asks {
    sgprs: u32,
    vgprs: u32,
    agprs: u32,
    scratch_bytes: u32,
    uses_dynamic_stack: bool,
}

const FEW: Asks =
    Asks { sgprs: 32, vgprs: 40, agprs: 8, scratch_bytes: 64, uses_dynamic_stack: false };

impl Asks {
    fn descriptor(self) -> [u8; KernelDescriptor::NUM_BYTES] {
        let mut bytes = [0; KernelDescriptor::NUM_BYTES];
        let mut put = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(4, self.scratch_bytes);
        put(44, self.vgprs / 4 - 1);
        put(48, ((self.vgprs + self.agprs) / 8 - 1) | (self.sgprs / 16 - 1) << 7);
        put(52, u32::from(self.scratch_bytes != 0));
        put(56, u32::from(self.uses_dynamic_stack) << 11);
        bytes
    }

    /// Runs `words` and an end.
    fn run(self, words: &[u32]) -> Result<(), LaunchError> {
        let words = words.iter().chain(&[0xbf81_0000]);
        let code: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        let object = CodeObject::parse(&code_object(&self.descriptor(), &code)).unwrap();
        let descriptor = &object.kernels[0].descriptor;
        assert_eq!((descriptor.num_sgprs, descriptor.accum_offset), (self.sgprs, self.vgprs));
        let config = ArenaConfig { capacity: 1 << 20, ..ArenaConfig::default() };
        let emulator = Emulator::new(config).unwrap();
        let module = emulator.load(object).unwrap();
        let launch = Launch { grid: [1; 3], block: [64, 1, 1], dynamic_lds_bytes: 0, kernarg: &[] };
        emulator.launch(&module, NAME, &launch, &Settings::default(), &mut ())
    }

    fn fault(self, words: &[u32]) -> Fault {
        match self.run(words) {
            Err(LaunchError::Fault(fault)) => *fault,
            other => panic!("{words:x?}: {other:?}"),
        }
    }
}

const S_MOV_B32_S2_39: u32 = 0xbe82_00a7;
const S_MOV_B32_M0_31: u32 = 0xbefc_009f;
const S_MOVRELD_B32_S0: u32 = 0xbe80_2c80;
const S_MOVRELD_B32_S1: u32 = 0xbe81_2c80;
const S_MOVRELD_B64_S0: u32 = 0xbe80_2d80;
/// The index is `s2`, and moves the results.
const S_SET_GPR_IDX_ON: u32 = 0xbf11_0802;
const V_MOV_B32_V0: u32 = 0x7e00_0280;
const V_MOV_B32_V1: u32 = 0x7e02_0280;

#[test]
fn a_register_beyond_those_allocated_is_an_error() {
    // Each with the last register that there is, and with the next one.
    let cases: [(&[u32], &[u32], &str); 9] = [
        (&[0x7e4e_0280], &[0x7e50_0280], "v40 is beyond the 40 VGPRs"),
        (&[0x7e00_0327], &[0x7e00_0328], "v40 is beyond the 40 VGPRs"),
        (&[0x7e4c_7080], &[0x7e50_7080], "v41 is beyond the 40 VGPRs"),
        (&[0xd3d9_4007, 0x1800_0080], &[0xd3d9_4008, 0x1800_0080], "a8 is beyond the 8 AccVGPRs"),
        (&[0xd3c2_8004, 0x0412_0300], &[0xd3c2_8008, 0x0422_0300], "a11 is beyond the 8 AccVGPRs"),
        (&[0xbe9f_0080], &[0xbea0_0080], "s32 is beyond the 32 SGPRs"),
        (
            &[S_MOV_B32_M0_31, S_MOVRELD_B32_S0],
            &[S_MOV_B32_M0_31, S_MOVRELD_B32_S1],
            "m0 moves s1 to s32, and the kernel has 32 SGPRs",
        ),
        (
            &[S_MOV_B32_M0_31, S_MOVRELD_B32_S0],
            &[S_MOV_B32_M0_31, S_MOVRELD_B64_S0],
            "m0 moves s0 to s31, and the kernel has 32 SGPRs",
        ),
        (
            &[S_MOV_B32_S2_39, S_SET_GPR_IDX_ON, V_MOV_B32_V0],
            &[S_MOV_B32_S2_39, S_SET_GPR_IDX_ON, V_MOV_B32_V1],
            "v40 is beyond the 40 VGPRs",
        ),
    ];
    for (enough, too_many, says) in cases {
        assert_eq!(FEW.run(enough), Ok(()), "{enough:x?}");
        let fault = FEW.fault(too_many);
        let instruction = if says.starts_with("m0") { "s_movreld" } else { "" };
        assert!(fault.to_string().contains(says), "{fault}");
        assert!(fault.instruction.starts_with(instruction) && fault.pc >= CODE as u64, "{fault}");
    }
    let fault = FEW.fault(&[V_MOV_B32_V0, 0x7e50_0280]);
    assert_eq!((fault.pc, fault.instruction.as_str()), (CODE as u64 + 4, "v_mov_b32_e32 v40, 0"));
    let (register, file) = ("v40".to_owned(), "VGPRs");
    assert_eq!(fault.cause, Cause::Trap(Trap::Register { register, allocated: 40, file }));
}

#[test]
fn vcc_and_all_that_exist_are_there() {
    // s_mov_b64 vcc, 0
    assert_eq!(FEW.run(&[0xbeea_0180]), Ok(()));
    let all = Asks { sgprs: 112, vgprs: 256, agprs: 256, ..FEW };
    // v_mov_b32 v255, 0; v_accvgpr_write_b32 a255, 0; s_mov_b32 s101, 0
    assert_eq!(all.run(&[0x7ffe_0280, 0xd3d9_40ff, 0x1800_0080, 0xbee5_0080]), Ok(()));
}

/// scratch_store_dword off, v0, off offset:60
const STORE_AT_60: [u32; 2] = [0xdc70_403c, 0x007f_0000];
/// scratch_store_dword off, v0, off offset:64
const STORE_AT_64: [u32; 2] = [0xdc70_4040, 0x007f_0000];

#[test]
fn a_stack_that_outgrows_scratch_says_whose_fault_it_is() {
    let recursive = Asks { uses_dynamic_stack: true, ..FEW };
    for asks in [FEW, recursive] {
        assert_eq!(asks.run(&STORE_AT_60), Ok(()));
        let fault = asks.fault(&STORE_AT_64);
        assert_eq!(fault.pc, CODE as u64);
        let (lane, address) = (0, 64);
        let trap =
            Trap::Scratch { lane, access: "store", address, num_bytes: 4, scratch_bytes: 64 };
        let expected =
            if asks.uses_dynamic_stack { Cause::DynamicStack(trap) } else { Cause::Trap(trap) };
        assert_eq!(fault.cause, expected);
        let text = fault.to_string();
        assert!(text.contains("a lane has 64"), "{text}");
        assert_eq!(text.contains("uses_dynamic_stack"), asks.uses_dynamic_stack, "{text}");
    }
}

#[test]
fn a_lane_has_as_much_scratch_as_the_hardware_can_count() {
    assert_eq!(Asks { scratch_bytes: 131_056, ..FEW }.run(&STORE_AT_64), Ok(()));
    for scratch_bytes in [131_057, 131_060, u32::MAX] {
        let error = Asks { scratch_bytes, ..FEW }.run(&[]).unwrap_err();
        let LaunchError::Shape { reason, .. } = error else { panic!("{error}") };
        assert_eq!(reason, format!("{scratch_bytes} bytes of scratch: a lane has at most 131056"));
    }
}
