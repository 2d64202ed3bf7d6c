//! What clients do, on which machine.

use kv_store::tier::Durability;

use super::chooser::Chooser;
use super::disk::Faults;

/// Keys of a world.
pub const NUM_KEYS: u32 = 5;
pub const LEASE_MS: u64 = 4_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Put {
        client: usize,
        key: u32,
    },
    Get {
        client: usize,
        key: u32,
        is_whole: bool,
    },
    Maintain {
        client: usize,
    },
    Reopen {
        client: usize,
    },
    Kill {
        client: usize,
    },
    Advance {
        ms: u64,
    },
    PowerLoss,
    /// A bit of a published record flips.
    Rot {
        key: u32,
    },
    /// Two published records change places.
    Swap {
        keys: [u32; 2],
    },
}

/// What interrupts an action before one of its I/Os.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    Kill,
    PowerLoss,
    Fault(u32),
    /// The other client acts.
    Nested(Action),
}

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub action: Action,
    pub interrupt: Option<(u32, Interrupt)>,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub is_nfs: bool,
    pub faults: Faults,
    /// Records that fit; `None` for more than there will be.
    pub cap_records: Option<u64>,
    pub durabilities: [Durability; 2],
    pub ops: Vec<Op>,
    pub ends_with_power_loss: bool,
}

const DURABILITIES: [Durability; 4] =
    [Durability::None, Durability::Data, Durability::Strict, Durability::Strict];

impl Scenario {
    pub fn random(seed: u64) -> Self {
        let mut chooser = Chooser::random(seed ^ 0x5ca1_ab1e);
        let rates = [0, 0, 64, 24, 10];
        let mut rate = || rates[chooser.choose(5) as usize];
        let faults = Faults {
            errors: rate(),
            lost_replies: rate(),
            short_reads: rate(),
            flips: rate(),
            stale: rate().min(24),
        };
        let durability = |chooser: &mut Chooser| DURABILITIES[chooser.choose(4) as usize];
        let durabilities = [durability(&mut chooser), durability(&mut chooser)];
        let cap_records = (chooser.choose(3) == 0).then(|| 2 + u64::from(chooser.choose(3)));
        let num_ops = 4 + chooser.choose(10);
        let ops = (0..num_ops).map(|_| random_op(&mut chooser)).collect();
        Scenario {
            seed,
            is_nfs: chooser.choose(2) == 0,
            faults,
            cap_records,
            durabilities,
            ops,
            ends_with_power_loss: chooser.choose(2) == 0,
        }
    }

    fn quiet(durabilities: [Durability; 2], cap_records: Option<u64>, actions: &[Action]) -> Self {
        let ops = actions.iter().map(|&action| Op { action, interrupt: None }).collect();
        Scenario {
            seed: 0,
            is_nfs: false,
            faults: Faults::default(),
            cap_records,
            durabilities,
            ops,
            ends_with_power_loss: false,
        }
    }
}

fn random_op(chooser: &mut Chooser) -> Op {
    let action = random_action(chooser);
    let at = 1 + chooser.choose(24);
    let interrupt = match chooser.choose(10) {
        0 => Some((at, Interrupt::Kill)),
        1 => Some((at, Interrupt::PowerLoss)),
        2..=4 => Some((at, Interrupt::Nested(random_action(chooser)))),
        _ => None,
    };
    Op { action, interrupt }
}

fn random_action(chooser: &mut Chooser) -> Action {
    let client = chooser.choose(2) as usize;
    let key = chooser.choose(NUM_KEYS);
    match chooser.choose(24) {
        0..=8 => Action::Put { client, key },
        9..=15 => Action::Get { client, key, is_whole: chooser.choose(2) == 0 },
        16 | 17 => Action::Maintain { client },
        18 => Action::Reopen { client },
        19 => Action::Kill { client },
        20 => Action::Advance { ms: [300, 1_500, LEASE_MS + 1][chooser.choose(3) as usize] },
        21 => Action::PowerLoss,
        22 => Action::Swap { keys: [key, chooser.choose(NUM_KEYS)] },
        _ => Action::Rot { key },
    }
}

/// Small histories, to be interrupted everywhere.
pub fn small() -> Vec<Scenario> {
    use Durability::{Data, None as Undurable, Strict};
    let put = |client, key| Action::Put { client, key };
    let get = |client, key| Action::Get { client, key, is_whole: true };
    let later = Action::Advance { ms: LEASE_MS + 1 };
    let maintain = |client| Action::Maintain { client };
    vec![
        Scenario::quiet([Undurable; 2], None, &[put(0, 0), get(1, 0)]),
        Scenario::quiet([Data; 2], None, &[put(0, 0), get(1, 0)]),
        Scenario::quiet([Strict; 2], None, &[put(0, 0), get(1, 0)]),
        Scenario::quiet([Undurable, Strict], None, &[put(0, 0), put(1, 0), get(0, 0)]),
        Scenario::quiet([Data, Strict], None, &[put(0, 0), put(1, 0)]),
        Scenario::quiet(
            [Strict; 2],
            None,
            &[put(0, 0), Action::Rot { key: 0 }, get(1, 0), put(0, 0)],
        ),
        Scenario::quiet([Strict; 2], Some(2), &[put(0, 0), put(0, 1), put(0, 2)]),
        Scenario::quiet([Strict; 2], Some(3), &[put(0, 0), put(1, 1), put(1, 2), later, put(1, 3)]),
        Scenario::quiet(
            [Strict; 2],
            None,
            &[put(0, 0), Action::Kill { client: 0 }, later, maintain(1), put(1, 0)],
        ),
        Scenario::quiet([Strict; 2], None, &[put(0, 0), Action::Reopen { client: 0 }, get(0, 0)]),
    ]
}
