//! Runs scenarios and checks what must hold.

mod chooser;
mod disk;
pub mod scenario;

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use kv_store::chunk::ChunkShape;
use kv_store::clock::Clock;
use kv_store::disk::Disk;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::{ChunkMeta, Lookup, Put};
use kv_store::tier::{Chunk, DirectoryConfig, DirectoryTier, Durability, Expected, Tier};

use chooser::Chooser;
use disk::{Event, Faults, Machine, SimDisk};
use scenario::{Action, Interrupt, LEASE_MS, NUM_KEYS, Op, Scenario};

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 2, head_dim: 32, element_bytes: 1 };
const NUM_TOKENS: usize = 4;
const RECORD_BYTES: u64 = 8192;
const ROOT: &str = "/d/kv";

/// Something that must hold did not.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "read when it is printed")]
pub struct Violation {
    pub what: &'static str,
    pub detail: String,
}

fn violation<T>(what: &'static str, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { what, detail: detail.into() })
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub num_io: u64,
    pub num_hits: u64,
    pub num_corrupt: u64,
    pub num_power_losses: u64,
    pub num_strict_kept: u64,
    pub num_evicted: u64,
    pub num_swept: u64,
    pub num_faults: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.num_io += other.num_io;
        self.num_hits += other.num_hits;
        self.num_corrupt += other.num_corrupt;
        self.num_power_losses += other.num_power_losses;
        self.num_strict_kept += other.num_strict_kept;
        self.num_evicted += other.num_evicted;
        self.num_swept += other.num_swept;
        self.num_faults += other.num_faults;
    }
}

#[derive(Default)]
struct SimClock(AtomicU64);

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is true.
#[derive(Default)]
struct Oracle {
    /// Keys that `strict` acknowledged.
    kept: BTreeSet<u32>,
    violation: Option<Violation>,
    report: Report,
}

#[derive(Clone)]
struct Client {
    disk: SimDisk,
    tier: Option<Arc<DirectoryTier>>,
    durability: Durability,
}

struct World<'a> {
    scenario: &'a Scenario,
    expected: Arc<Expected>,
    clock: Arc<SimClock>,
    machine: Arc<Mutex<Machine>>,
    clients: Vec<Client>,
    oracle: Arc<Mutex<Oracle>>,
    cap_bytes: u64,
}

fn key(key: u32) -> ChunkKey {
    ChunkKey([0x11 * (key as u8 + 1); 32])
}

fn record_path(idx: u32) -> PathBuf {
    let name = key(idx).to_string();
    PathBuf::from(format!("{ROOT}/records-v1/{}/{name}", &name[..1]))
}

fn bytes_of(key: u32) -> Vec<u8> {
    (0..SHAPE.chunk_bytes(NUM_TOKENS) as u32)
        .map(|i| (i * (2 * key + 3) + (i >> 7) + key) as u8)
        .collect()
}

fn chunk(key_idx: u32) -> Arc<Chunk> {
    let meta = ChunkMeta {
        first_token: 0,
        num_tokens: NUM_TOKENS as u32,
        tenant: TenantTag::SHARED,
        created_ms: 0,
        expires_ms: None,
    };
    Arc::new(Chunk::seal(&SHAPE, key(key_idx), meta, bytes_of(key_idx)).unwrap())
}

/// A client's put or get, judged by what is true.
fn act(
    client: &Client,
    machine: &Mutex<Machine>,
    oracle: &Mutex<Oracle>,
    limit: u64,
    action: Action,
) {
    let Some(tier) = &client.tier else { return };
    match action {
        Action::Put { key, .. } => {
            let put = tier.put(&chunk(key));
            let machine = machine.lock().unwrap();
            let mut oracle = oracle.lock().unwrap();
            if machine.is_down(client.disk.client()) {
                return;
            }
            if put.is_there() && client.durability == Durability::Strict {
                oracle.kept.insert(key);
            }
            let taken = machine.physical_bytes();
            if put == Put::Stored && taken > limit && oracle.violation.is_none() {
                let detail = format!("{taken} bytes of {limit} after a put of key {key}");
                oracle.violation = Some(Violation { what: "cap", detail });
            }
        }
        Action::Get { key: idx, is_whole, .. } => {
            let layers = if is_whole { 0..2 } else { 1..2 };
            let at = SHAPE.layers_range(layers.clone(), NUM_TOKENS);
            let mut out = vec![0xaa; at.len()];
            let lookup = tier.get(&key(idx), layers, &mut out);
            let mut oracle = oracle.lock().unwrap();
            match lookup {
                Lookup::Hit(_) => {
                    oracle.report.num_hits += 1;
                    if out != bytes_of(idx)[at] {
                        let detail = format!("key {idx} was read with other bytes");
                        oracle.violation = Some(Violation { what: "bytes", detail });
                    }
                }
                Lookup::Corrupt(_) => oracle.report.num_corrupt += 1,
                Lookup::Miss(_) => {}
            }
        }
        Action::Maintain { .. } => tier.maintain(),
        _ => {}
    }
}

fn client_of(action: Action) -> Option<usize> {
    match action {
        Action::Put { client, .. }
        | Action::Get { client, .. }
        | Action::Maintain { client }
        | Action::Reopen { client }
        | Action::Kill { client } => Some(client),
        Action::Advance { .. } | Action::PowerLoss | Action::Rot { .. } | Action::Swap { .. } => {
            None
        }
    }
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, chooser: Chooser) -> Self {
        let identity = Identity::new(&IdentityParts {
            kv_dtype: "fp8_e4m3fnuz",
            ..IdentityParts::of_no_model(1)
        });
        let expected = Arc::new(Expected { identity: identity.unwrap(), shape: SHAPE });
        let mut machine = Machine::new(chooser);
        machine.is_nfs = scenario.is_nfs;
        let machine = Arc::new(Mutex::new(machine));
        let client = |durability| Client { disk: SimDisk::new(&machine), tier: None, durability };
        let clients = scenario.durabilities.map(client).to_vec();
        let mut world = World {
            scenario,
            expected,
            clock: Arc::default(),
            machine,
            clients,
            oracle: Arc::default(),
            cap_bytes: scenario.cap_records.unwrap_or(1000) * RECORD_BYTES,
        };
        // The first start is undisturbed, so that histories begin somewhere.
        (0..2).for_each(|client| world.open(client));
        world.lock().faults = scenario.faults;
        world
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.machine.lock().unwrap()
    }

    /// Bytes that may lie there after a put.
    fn limit(&self) -> u64 {
        let batches = if self.scenario.is_nfs { self.clients.len() as u64 } else { 0 };
        // And a block, where the file that should have named an evictor could not be removed.
        self.cap_bytes + batches * RECORD_BYTES + 4096
    }

    fn open(&mut self, client: usize) {
        let disk = SimDisk::new(&self.machine);
        let config = DirectoryConfig {
            durability: self.clients[client].durability,
            lease_ms: LEASE_MS,
            disk: Arc::new(disk.clone()) as Arc<dyn Disk>,
            ..DirectoryConfig::new(ROOT, self.cap_bytes)
        };
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let tier = DirectoryTier::open(&config, Arc::clone(&self.expected), clock);
        self.clients[client].disk = disk;
        self.clients[client].tier = tier.ok().map(Arc::new);
    }

    /// Ends a process: whatever it would still do fails.
    fn kill(&mut self, client: usize) {
        self.lock().kill(self.clients[client].disk.client());
        if let Some(tier) = self.clients[client].tier.take() {
            self.count(&tier);
        }
    }

    fn count(&self, tier: &DirectoryTier) {
        let stats = tier.stats();
        let report = &mut self.oracle.lock().unwrap().report;
        report.num_evicted += stats.evicted;
        report.num_swept += stats.swept;
    }

    fn power_loss(&mut self) {
        self.lock().power_loss();
        self.oracle.lock().unwrap().report.num_power_losses += 1;
        for client in 0..self.clients.len() {
            self.kill(client);
        }
    }

    fn interrupt(&self, interrupt: Interrupt) -> Option<Event> {
        Some(match interrupt {
            Interrupt::Kill => Event::Kill,
            Interrupt::PowerLoss => Event::PowerLoss,
            Interrupt::Fault(kind) => Event::Fault(kind),
            Interrupt::Nested(action) => {
                let client = self.clients[client_of(action)?].clone();
                let machine = Arc::clone(&self.machine);
                let oracle = Arc::clone(&self.oracle);
                let limit = self.limit();
                Event::Nested(Box::new(move || act(&client, &machine, &oracle, limit, action)))
            }
        })
    }

    /// Whether the interrupt's time came.
    fn step(&mut self, op: &Op) -> bool {
        let client = client_of(op.action);
        if let Some(client) = client
            && self.clients[client].tier.is_none()
            && !matches!(op.action, Action::Reopen { .. })
        {
            self.open(client);
        }
        let nests_in_itself = matches!(op.interrupt, Some((_, Interrupt::Nested(action)))
            if client_of(action) == client);
        if let Some((at, interrupt)) = op.interrupt
            && !nests_in_itself
        {
            let event = self.interrupt(interrupt);
            self.lock().event = event.map(|event| (at, event));
        }
        match op.action {
            Action::Put { client, .. }
            | Action::Get { client, .. }
            | Action::Maintain { client } => {
                act(&self.clients[client], &self.machine, &self.oracle, self.limit(), op.action);
            }
            Action::Reopen { client } => {
                if let Some(tier) = self.clients[client].tier.take() {
                    self.count(&tier);
                }
                self.open(client);
            }
            Action::Kill { client } => self.kill(client),
            Action::Advance { ms } => drop(self.clock.0.fetch_add(ms, Relaxed)),
            Action::PowerLoss => self.power_loss(),
            Action::Rot { key } => {
                if self.lock().rot(&record_path(key)) {
                    self.oracle.lock().unwrap().kept.remove(&key);
                }
            }
            Action::Swap { keys } => {
                let [a, b] = keys.map(record_path);
                if a != b && self.lock().swap(&a, &b) {
                    let mut oracle = self.oracle.lock().unwrap();
                    oracle.kept.retain(|key| !keys.contains(key));
                }
            }
        }
        // Dropped without the lock: with it may go the last of a tier, which then leaves the directory.
        let event = self.lock().event.take();
        let unused = event.is_some();
        drop(event);
        if self.lock().has_lost_power {
            self.power_loss();
        }
        for client in 0..self.clients.len() {
            let is_dead = self.lock().is_down(self.clients[client].disk.client());
            if is_dead {
                self.kill(client);
            }
        }
        op.interrupt.is_some() && !unused
    }

    /// Nothing fails any more: everything must be in order again.
    fn finish(&mut self) -> Result<Report, Violation> {
        self.lock().faults = Faults::default();
        self.lock().is_nfs = false;
        if self.scenario.ends_with_power_loss {
            self.power_loss();
        }
        (0..self.clients.len()).for_each(|client| self.kill(client));
        self.clients[0].durability = Durability::Strict;
        self.open(0);
        let client = self.clients[0].clone();
        let Some(tier) = &client.tier else { return violation("open", "cannot be opened") };
        for key in 0..NUM_KEYS {
            act(
                &client,
                &self.machine,
                &self.oracle,
                u64::MAX,
                Action::Get { client: 0, key, is_whole: true },
            );
        }
        self.check_kept(tier)?;
        // The others are dead; when that is sure, what they left is removed.
        for _ in 0..3 {
            self.clock.0.fetch_add(LEASE_MS, Relaxed);
            tier.maintain();
        }
        // An old evictor's name that could not be removed goes with the next change.
        for (directory, most) in
            [("staging", 0), ("members", 1), ("quarantine", 16), ("evictor", 3)]
        {
            let files = self.lock().files_in(&format!("{ROOT}/{directory}"));
            if files.len() > most {
                return violation("left", format!("{directory}: {files:?}"));
            }
        }
        let taken = self.lock().physical_bytes();
        if taken > self.cap_bytes {
            return violation("cap", format!("{taken} of {} bytes in the end", self.cap_bytes));
        }
        for key in 0..NUM_KEYS {
            if !tier.put(&chunk(key)).is_there() {
                return violation("put", format!("key {key} cannot be stored any more"));
            }
            if !tier
                .get(&self::key(key), 0..1, &mut vec![0; SHAPE.layer_bytes(NUM_TOKENS)])
                .is_hit()
            {
                return violation("put", format!("key {key} was stored, and cannot be read"));
            }
        }
        self.count(tier);
        let mut oracle = self.oracle.lock().unwrap();
        if let Some(violation) = oracle.violation.take() {
            return Err(violation);
        }
        oracle.report.num_io = self.machine.lock().unwrap().num_io;
        oracle.report.num_faults = self.machine.lock().unwrap().num_faults;
        Ok(oracle.report)
    }

    /// What `strict` acknowledged is there, unless it had to make room or rotted.
    fn check_kept(&self, tier: &DirectoryTier) -> Result<(), Violation> {
        let oracle = self.oracle.lock().unwrap();
        // Records leave for a disk that says it is full too.
        if self.scenario.cap_records.is_some() || self.lock().was_full {
            return Ok(());
        }
        let kept = oracle.kept.clone();
        drop(oracle);
        for idx in kept {
            let mut out = vec![0; SHAPE.chunk_bytes(NUM_TOKENS)];
            let lookup = tier.get(&key(idx), 0..2, &mut out);
            if !lookup.is_hit() {
                return violation("strict", format!("key {idx} was acknowledged: {lookup:?}"));
            }
            self.oracle.lock().unwrap().report.num_strict_kept += 1;
        }
        Ok(())
    }
}

/// Runs a scenario with what its seed decides.
pub fn run(scenario: &Scenario) -> Result<Report, Violation> {
    let mut world = World::new(scenario, Chooser::random(scenario.seed));
    for op in &scenario.ops {
        world.step(op);
    }
    world.finish()
}

/// Each history in which one I/O of one operation is the last before the process is killed or power is lost, and
/// after a loss of power each set of survivors (as far as [`MOST_SURVIVORS`]). Gives their number.
pub fn exhaust(scenario: &Scenario, total: &mut Report) -> Result<u64, Violation> {
    const MOST_SURVIVORS: usize = 48;
    let mut num_histories = 0;
    for op in 0..scenario.ops.len() {
        for interrupt in [Interrupt::Kill, Interrupt::PowerLoss] {
            for at in 1.. {
                let mut history = scenario.clone();
                history.ops[op].interrupt = Some((at, interrupt));
                let mut digits = Some(Vec::new());
                let mut was_time = false;
                for _ in 0..MOST_SURVIVORS {
                    let Some(these) = digits else { break };
                    let chooser = Chooser::Every { digits: these, next: 0 };
                    let (interrupted, report, made) = run_with(&history, op, chooser)?;
                    was_time = interrupted;
                    *total += report;
                    num_histories += 1;
                    digits = chooser::next(made);
                }
                if !was_time {
                    break;
                }
            }
        }
    }
    Ok(num_histories)
}

/// Each history in which one I/O of one operation fails, then power is lost.
pub fn exhaust_faults(scenario: &Scenario) -> Result<u64, Violation> {
    let mut num_histories = 0;
    for op in 0..scenario.ops.len() {
        for kind in 0..3 {
            for at in 1.. {
                let mut history = scenario.clone();
                history.ops[op].interrupt = Some((at, Interrupt::Fault(kind)));
                history.ends_with_power_loss = true;
                let mut was_time = false;
                for seed in 1..6 {
                    was_time = run_with(&history, op, Chooser::random(seed))?.0;
                    num_histories += 1;
                }
                if !was_time {
                    break;
                }
            }
        }
    }
    Ok(num_histories)
}

type Choices = Vec<(u32, u32)>;

/// Whether operation `op` was interrupted, what happened, and what was chosen.
fn run_with(
    scenario: &Scenario,
    op: usize,
    chooser: Chooser,
) -> Result<(bool, Report, Choices), Violation> {
    let mut world = World::new(scenario, chooser);
    let mut was_time = false;
    for (i, step) in scenario.ops.iter().enumerate() {
        was_time |= world.step(step) && i == op;
    }
    let report = world.finish().map_err(|violation| Violation {
        detail: format!("{} in {scenario:?}", violation.detail),
        ..violation
    })?;
    let machine = world.machine.lock().unwrap();
    let digits = match &machine.chooser {
        Chooser::Every { digits, .. } => digits.clone(),
        Chooser::Random(_) => Vec::new(),
    };
    Ok((was_time, report, digits))
}
