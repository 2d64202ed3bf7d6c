//! How many registers a wave has, and an instruction needs.

use code_object::KernelDescriptor;

use super::Trap;
use crate::isa::{Inst, Operand};

/// SGPRs that operands can name.
const MAX_SGPRS: u16 = 102;

/// Registers of a vector file.
const MAX_VGPRS: u16 = 256;

/// Numbers of SGPRs, VGPRs and AccVGPRs: what a wave has allocated, or what an instruction needs.
///
/// They share a word, sixteen bits each, so that one subtraction compares all three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers(u64);

impl Registers {
    /// All that there are.
    pub const ALL: Self = Self::new(MAX_SGPRS, [MAX_VGPRS; 2]);

    /// The highest bit of each number, which none of them needs.
    const BORROW: u64 = 0x8000_8000_8000;

    const fn new(sgprs: u16, [vgprs, agprs]: [u16; 2]) -> Self {
        Self(sgprs as u64 | (vgprs as u64) << 16 | (agprs as u64) << 32)
    }

    /// What waves of a kernel have: SGPRs in granules of 16, and vector registers in granules of 8, of which the first
    /// `accum_offset` are VGPRs and the others AccVGPRs (manual, 3.6.2 and 3.6.4).
    pub fn allocated(descriptor: &KernelDescriptor) -> Self {
        let vgprs = descriptor.accum_offset.min(descriptor.num_vgprs);
        let [sgprs, vgprs, agprs] =
            [descriptor.num_sgprs, vgprs, descriptor.num_agprs()].map(|n| n as u16);
        Self::new(sgprs.min(MAX_SGPRS), [vgprs.min(MAX_VGPRS), agprs.min(MAX_VGPRS)])
    }

    /// What `inst` needs to be there. VCC and its like always are.
    pub fn of(inst: &Inst) -> Self {
        let mut needs = Self(0);
        for (file, end) in ends(inst) {
            let [sgprs, vgprs, agprs] = needs.counts();
            needs = match file {
                File::Sgpr => Self::new(sgprs.max(end), [vgprs, agprs]),
                File::Vgpr => Self::new(sgprs, [vgprs.max(end), agprs]),
                File::Agpr => Self::new(sgprs, [vgprs, agprs.max(end)]),
            };
        }
        needs
    }

    const fn counts(self) -> [u16; 3] {
        [self.0 as u16, (self.0 >> 16) as u16, (self.0 >> 32) as u16]
    }

    /// SGPRs.
    pub const fn sgprs(self) -> u16 {
        self.counts()[0]
    }

    /// VGPRs and AccVGPRs.
    pub fn vectors(self) -> [usize; 2] {
        let [_, vgprs, agprs] = self.counts();
        [vgprs, agprs].map(usize::from)
    }

    /// Whether these are at least as many as `needs`, in every file.
    #[inline(always)]
    pub const fn suffice(self, needs: Self) -> bool {
        ((self.0 | Self::BORROW) - needs.0) & Self::BORROW == Self::BORROW
    }

    /// That a wave which has these cannot execute `inst`, which needs more.
    #[cold]
    pub(super) fn trap(self, inst: &Inst) -> Trap {
        let beyond = |&(file, end): &(File, u16)| end > self.counts()[file as usize];
        let (file, end) = ends(inst).find(beyond).unwrap_or((File::Sgpr, 0));
        let (letter, name) = match file {
            File::Sgpr => ('s', "SGPRs"),
            File::Vgpr => ('v', "VGPRs"),
            File::Agpr => ('a', "AccVGPRs"),
        };
        let register = format!("{letter}{}", end.saturating_sub(1));
        Trap::Register { register, allocated: self.counts()[file as usize], file: name }
    }
}

#[derive(Clone, Copy)]
enum File {
    Sgpr,
    Vgpr,
    Agpr,
}

/// Of all runs of registers that `inst` names, the file, and the number after the last one.
fn ends(inst: &Inst) -> impl Iterator<Item = (File, u16)> {
    let runs = [inst.reads(), inst.writes()];
    runs.into_iter().flat_map(|runs| {
        let mut ends = [(File::Sgpr, 0); 8];
        for (end, run) in ends.iter_mut().zip(runs.iter()) {
            let (file, base) = match run.first {
                Operand(code) if code < MAX_SGPRS => (File::Sgpr, 0),
                Operand(256..=511) => (File::Vgpr, Operand::VGPR0.0),
                Operand(512..=767) => (File::Agpr, Operand::ACC0.0),
                _ => continue,
            };
            *end = (file, run.first.0 - base + u16::from(run.dwords));
        }
        ends
    })
}
