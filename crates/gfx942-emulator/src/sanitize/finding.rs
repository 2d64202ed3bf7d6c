//! What a sanitizer found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Most findings that are kept: different pairs of instructions.
const MAX_FINDINGS: usize = 1000;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A register or memory is used before the `s_waitcnt` for whoever writes it.
    Wait,
    /// Two waves of a work-group touch the same bytes of LDS between two barriers, and one of them writes.
    Race,
    /// What nobody wrote decides about an address, a branch, active lanes, or device memory.
    Uninitialized,
    /// Not all work-items of a work-group are at the same barrier.
    Barrier,
    /// Instructions that the hardware does not keep apart are too close.
    WaitStates,
}

/// An instruction of the kernel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
pub struct Site {
    /// Where, relative to the code object's load address: what `llvm-objdump` prints.
    pub pc: u64,
    /// What is there.
    pub instruction: String,
}

/// What is wrong, where, and what to do. Each pair of instructions is reported once, for the first wave by work-groups.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The kernel.
    pub kernel: String,
    /// The work-group's indices in the grid.
    pub work_group: [u32; 3],
    /// The wave in its work-group.
    pub wave: u32,
    /// The first lane for which it is wrong, if it is not so for the wave as a whole.
    pub lane: Option<u32>,
    /// Where.
    #[serde(flatten)]
    pub site: Site,
    /// The instruction that it should have waited for, or that it collides with.
    pub other: Option<Site>,
    /// What is wrong and what to do, in words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, work_group, wave, site, .. } = self;
        write!(f, "{kernel}: work-group {work_group:?}, wave {wave}, ")?;
        if let Some(lane) = self.lane {
            write!(f, "lane {lane}, ")?;
        }
        write!(f, "pc {:#x} ({}): {}", site.pc, site.instruction, self.text)?;
        match &self.other {
            Some(other) => write!(f, " [pc {:#x} ({})]", other.pc, other.instruction),
            None => Ok(()),
        }
    }
}

/// Where in the launch: of the same finding, the lowest is kept, whichever thread sees it.
pub(super) type Rank = (u64, u32, Option<u32>);

/// The findings, by place in the code.
#[derive(Clone, Default, Debug)]
pub(super) struct Findings(BTreeMap<(u64, Kind, Option<u64>), (Rank, Finding)>);

impl Findings {
    pub fn add(&mut self, rank: Rank, finding: Finding) {
        let key = (finding.site.pc, finding.kind, finding.other.as_ref().map(|other| other.pc));
        let known = self.0.get(&key).is_some_and(|(known, _)| *known <= rank);
        if known {
            return;
        }
        self.0.insert(key, (rank, finding));
        if self.0.len() > MAX_FINDINGS {
            self.0.pop_last();
        }
    }

    /// Whether `add` would do nothing.
    pub fn has(&self, rank: Rank, pc: u64, kind: Kind, other: Option<u64>) -> bool {
        self.0.get(&(pc, kind, other)).is_some_and(|(known, _)| *known <= rank)
    }

    pub fn merge(&mut self, other: Self) {
        for (rank, finding) in other.0.into_values() {
            self.add(rank, finding);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.values().map(|(_, finding)| finding)
    }
}
