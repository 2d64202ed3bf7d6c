//! A disk that keeps what was synced, and of the rest what it likes.
//!
//! Model: a file's bytes survive sector by sector, each as it was, as it is, or torn; a failed sync drops bytes and
//! forgets that (as Linux does). Names survive operation by operation, a rename as a whole, unless their
//! directory was synced. Other clients of a file server may see a file that is being written as holes, a new
//! name late, a removed one still.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use kv_store::disk::{Disk, DiskFile, Listed};
use kv_store::record::ReadAt;

use super::chooser::Chooser;

const SECTOR: usize = 512;
const BLOCK: u64 = 4096;

/// How often things go wrong: once in so many I/Os, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub errors: u32,
    pub lost_replies: u32,
    pub short_reads: u32,
    pub flips: u32,
    pub stale: u32,
}

/// What happens before an I/O of a client.
pub enum Event {
    /// The process ends.
    Kill,
    /// Everything ends.
    PowerLoss,
    /// A fault of this kind.
    Fault(u32),
    /// Others act in between.
    Nested(Box<dyn FnOnce() + Send>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed: later ones do nothing and say it went well.
    is_lost: bool,
    /// Being written by this client.
    open_by: Option<usize>,
}

#[derive(Clone)]
enum Change {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let is_in = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Change::Add(path, _) | Change::Remove(path) => is_in(path),
            Change::Rename(from, to, _) => is_in(from) || is_in(to),
        }
    }

    fn names(&self) -> Vec<&PathBuf> {
        match self {
            Change::Add(path, _) | Change::Remove(path) => vec![path],
            Change::Rename(from, to, _) => vec![from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Change::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Change::Remove(path) => drop(names.remove(path)),
            Change::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

pub struct Machine {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: Vec<Change>,
    /// Who changed a name last: the others may not know yet.
    changed_by: BTreeMap<PathBuf, usize>,
    removed: BTreeMap<PathBuf, usize>,
    pub chooser: Chooser,
    pub faults: Faults,
    pub is_nfs: bool,
    /// I/Os until the event.
    pub event: Option<(u32, Event)>,
    pub num_io: u64,
    pub num_faults: u64,
    /// It said so once; records may have left for it.
    pub was_full: bool,
    dead: Vec<bool>,
    pub has_lost_power: bool,
    next_unique: u128,
}

/// One client's view of the machine.
#[derive(Clone)]
pub struct SimDisk {
    pub machine: Arc<Mutex<Machine>>,
    client: usize,
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    is_writer: bool,
    /// Opened under a name that was removed already.
    is_stale: bool,
}

fn eio() -> io::Error {
    io::Error::other("simulated EIO")
}

fn kind(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl Machine {
    pub fn new(chooser: Chooser) -> Self {
        let names = BTreeMap::from([(PathBuf::from("/d"), Node::Dir)]);
        Machine {
            inodes: Vec::new(),
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            changed_by: BTreeMap::new(),
            removed: BTreeMap::new(),
            chooser,
            faults: Faults::default(),
            is_nfs: false,
            event: None,
            num_io: 0,
            num_faults: 0,
            was_full: false,
            dead: Vec::new(),
            has_lost_power: false,
            next_unique: 0,
        }
    }

    /// Power comes back: what was not synced is there, or not, or half.
    pub fn power_loss(&mut self) {
        // What is done to one name survives in order: no later change without the earlier.
        let mut lost: Vec<PathBuf> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            let follows_lost = change.names().into_iter().any(|name| lost.contains(name));
            if !follows_lost && self.chooser.choose(2) == 1 {
                change.apply(&mut self.durable_names);
            } else {
                lost.extend(change.names().into_iter().cloned());
            }
        }
        let kept = self.durable_names.clone();
        let has_parents = |path: &Path| {
            path.ancestors()
                .skip(1)
                .all(|dir| dir == Path::new("/") || kept.get(dir) == Some(&Node::Dir))
        };
        self.durable_names.retain(|path, _| has_parents(path));
        self.names = self.durable_names.clone();
        self.changed_by.clear();
        self.removed.clear();
        for inode in &mut self.inodes {
            crash_bytes(inode, &mut self.chooser);
        }
        self.dead.iter_mut().for_each(|dead| *dead = true);
        self.has_lost_power = false;
    }

    pub fn kill(&mut self, client: usize) {
        self.dead[client] = true;
        // The system closes its files.
        for inode in self.inodes.iter_mut().filter(|inode| inode.open_by == Some(client)) {
            inode.open_by = None;
        }
    }

    /// Whether this client's process has ended.
    pub fn is_down(&self, client: usize) -> bool {
        self.dead[client] || self.has_lost_power
    }

    /// Bytes that files under some name take. The evictor's block is nobody's chunk.
    pub fn physical_bytes(&self) -> u64 {
        let evictor = Path::new("/d/kv/evictor");
        let names = self.names.iter().filter(|(path, _)| path.parent() != Some(evictor));
        let mut inodes: Vec<_> = names
            .filter_map(|(_, node)| match node {
                Node::File(inode) => Some(*inode),
                Node::Dir => None,
            })
            .collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes.iter().map(|&i| (self.inodes[i].bytes.len() as u64).next_multiple_of(BLOCK)).sum()
    }

    pub fn files_in(&self, dir: &str) -> Vec<String> {
        let dir = Path::new(dir);
        let files = self.names.keys().filter(|path| path.parent() == Some(dir));
        files.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Flips a bit at rest.
    pub fn rot(&mut self, path: &Path) -> bool {
        let Some(Node::File(inode)) = self.names.get(path).copied() else { return false };
        let len = self.inodes[inode].bytes.len() as u32;
        if len == 0 {
            return false;
        }
        let at = self.chooser.choose(len) as usize;
        let bit = 1 << self.chooser.choose(8);
        self.inodes[inode].bytes[at] ^= bit;
        if let Some(byte) = self.inodes[inode].durable.get_mut(at) {
            *byte ^= bit;
        }
        true
    }

    /// Two names change their files.
    pub fn swap(&mut self, a: &Path, b: &Path) -> bool {
        let nodes = [a, b].map(|path| self.names.get(path).copied());
        let [Some(of_a), Some(of_b)] = nodes else { return false };
        for (path, node) in [(a, of_b), (b, of_a)] {
            self.names.insert(path.to_path_buf(), node);
            self.durable_names.insert(path.to_path_buf(), node);
        }
        true
    }

    fn change(&mut self, client: usize, change: Change) {
        change.apply(&mut self.names);
        match &change {
            Change::Add(path, _) => drop(self.changed_by.insert(path.clone(), client)),
            Change::Remove(path) => drop(self.removed.insert(path.clone(), client)),
            Change::Rename(from, to, _) => {
                self.removed.insert(from.clone(), client);
                self.changed_by.insert(to.clone(), client);
            }
        }
        self.pending.push(change);
    }

    /// Whether another client's change of a name is not seen yet.
    fn is_unseen(&mut self, path: &Path, client: usize) -> bool {
        let by_other = self.changed_by.get(path).is_some_and(|by| *by != client);
        self.is_nfs && by_other && self.chooser.once_in(self.faults.stale)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(eio()),
            None => Err(kind(io::ErrorKind::NotFound)),
        }
    }

    fn parent_is_there(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(kind(io::ErrorKind::NotFound)),
        }
    }

    fn is_free(&self, path: &Path) -> io::Result<()> {
        self.parent_is_there(path)?;
        if self.names.contains_key(path) { Err(kind(io::ErrorKind::AlreadyExists)) } else { Ok(()) }
    }
}

fn crash_bytes(inode: &mut Inode, chooser: &mut Chooser) {
    inode.open_by = None;
    if inode.bytes == inode.durable {
        return;
    }
    let old = std::mem::take(&mut inode.durable);
    let new = std::mem::take(&mut inode.bytes);
    let how = chooser.choose(5);
    // The length survives or not, apart from the bytes: a longer file then has holes.
    let len = if how == 0 { old.len() } else { new.len().max(old.len()) };
    let mut left = vec![0; len];
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or(0);
    let cut = if how == 4 { chooser.choose(SECTOR as u32) as usize } else { 0 };
    let special =
        if how >= 3 { chooser.choose(len.div_ceil(SECTOR).max(1) as u32) as usize } else { 0 };
    for (at, left) in left.iter_mut().enumerate() {
        let is_new = match how {
            0 => false,
            1 => true,
            // Only the length.
            2 => false,
            // One sector is missing.
            3 => at / SECTOR != special,
            // Written up to the middle of a sector.
            _ => at < special * SECTOR + cut,
        };
        *left = if is_new { byte(&new, at) } else { byte(&old, at) };
    }
    inode.bytes = left.clone();
    inode.durable = left;
    inode.is_lost = false;
}

impl SimDisk {
    pub fn new(machine: &Arc<Mutex<Machine>>) -> Self {
        let mut state = machine.lock().unwrap();
        state.dead.push(false);
        let client = state.dead.len() - 1;
        drop(state);
        SimDisk { machine: Arc::clone(machine), client }
    }

    pub fn client(&self) -> usize {
        self.client
    }

    /// Before each I/O: the event, if it is its time; then an error, if there is to be one.
    fn step(&self, is_growing: bool) -> io::Result<MutexGuard<'_, Machine>> {
        let mut state = self.machine.lock().unwrap();
        if state.dead[self.client] || state.has_lost_power {
            return Err(eio());
        }
        state.num_io += 1;
        let is_time = state.event.as_mut().is_some_and(|(left, _)| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if is_time {
            match state.event.take().map(|(_, event)| event) {
                Some(Event::Kill) => {
                    state.kill(self.client);
                    return Err(eio());
                }
                Some(Event::PowerLoss) => {
                    state.has_lost_power = true;
                    return Err(eio());
                }
                Some(Event::Fault(0)) => {
                    state.num_faults += 1;
                    state.was_full = true;
                    return Err(kind(io::ErrorKind::StorageFull));
                }
                Some(Event::Fault(1)) => {
                    state.num_faults += 1;
                    return Err(kind(io::ErrorKind::StaleNetworkFileHandle));
                }
                Some(Event::Fault(_)) => {
                    state.num_faults += 1;
                    return Err(eio());
                }
                Some(Event::Nested(act)) => {
                    drop(state);
                    act();
                    state = self.machine.lock().unwrap();
                    if state.dead[self.client] || state.has_lost_power {
                        return Err(eio());
                    }
                }
                None => {}
            }
        }
        let errors = state.faults.errors;
        if state.chooser.once_in(errors) {
            state.num_faults += 1;
            return Err(match state.chooser.choose(3) {
                0 if is_growing => {
                    state.was_full = true;
                    kind(io::ErrorKind::StorageFull)
                }
                1 => kind(io::ErrorKind::StaleNetworkFileHandle),
                _ => eio(),
            });
        }
        Ok(state)
    }

    /// A request that was carried out, and its answer lost: a file server sees it again.
    fn reply(&self, mut state: MutexGuard<'_, Machine>, again: io::ErrorKind) -> io::Result<()> {
        let lost = state.faults.lost_replies;
        if !state.chooser.once_in(lost) {
            return Ok(());
        }
        state.num_faults += 1;
        Err(if state.chooser.choose(2) == 0 { kind(again) } else { eio() })
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(true)?;
        state.is_free(path)?;
        state.change(self.client, Change::Add(path.to_path_buf(), Node::Dir));
        self.reply(state, io::ErrorKind::AlreadyExists)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step(true)?;
        state.is_free(path)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode { open_by: Some(self.client), ..Inode::default() });
        state.change(self.client, Change::Add(path.to_path_buf(), Node::File(inode)));
        self.reply(state, io::ErrorKind::AlreadyExists)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, is_writer: true, is_stale: false }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step(false)?;
        if state.is_unseen(path, self.client) {
            return Err(kind(io::ErrorKind::NotFound));
        }
        let found = state.file(path);
        let was_removed = state.removed.get(path).is_some_and(|by| *by != self.client);
        let stale = state.faults.stale;
        if found.is_err() && state.is_nfs && was_removed && state.chooser.once_in(stale) {
            return Ok(Box::new(SimFile {
                disk: self.clone(),
                inode: 0,
                is_writer: false,
                is_stale: true,
            }));
        }
        let inode = found?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, is_writer: false, is_stale: false }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step(true)?;
        let inode = state.file(from)?;
        state.is_free(to)?;
        state.change(self.client, Change::Add(to.to_path_buf(), Node::File(inode)));
        self.reply(state, io::ErrorKind::AlreadyExists)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step(false)?;
        let inode = state.file(from)?;
        state.parent_is_there(to)?;
        let change = Change::Rename(from.to_path_buf(), to.to_path_buf(), Node::File(inode));
        state.change(self.client, change);
        self.reply(state, io::ErrorKind::NotFound)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(false)?;
        state.file(path)?;
        state.change(self.client, Change::Remove(path.to_path_buf()));
        self.reply(state, io::ErrorKind::NotFound)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut state = self.step(false)?;
        if state.names.get(path) != Some(&Node::Dir) {
            return Err(kind(io::ErrorKind::NotFound));
        }
        let state = &mut *state;
        let after = (std::ops::Bound::Excluded(path), std::ops::Bound::Unbounded);
        let mut listed = Vec::new();
        let mut unsure = Vec::new();
        for (file, node) in state.names.range::<Path, _>(after) {
            if !file.starts_with(path) {
                break;
            }
            let Node::File(inode) = node else { continue };
            if file.parent() != Some(path) {
                continue;
            }
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let len = state.inodes[*inode].bytes.len() as u64;
            unsure.push(state.changed_by.get(file).is_some_and(|by| *by != self.client));
            listed.push(Listed { name, physical_bytes: len.next_multiple_of(BLOCK) });
        }
        if state.is_nfs && state.faults.stale > 0 {
            let stale = state.faults.stale;
            let mut unsure = unsure.into_iter();
            listed.retain(|_| !(unsure.next() == Some(true) && state.chooser.once_in(stale)));
        }
        Ok(listed)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step(false)?;
        let (synced, pending) = std::mem::take(&mut state.pending)
            .into_iter()
            .partition(|change: &Change| change.touches(path));
        state.pending = pending;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }

    fn unique(&self) -> io::Result<u128> {
        let mut state = self.machine.lock().unwrap();
        state.next_unique += 1;
        Ok(state.next_unique << 64 | 7)
    }
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.step(false)?;
        if self.is_stale {
            return Err(kind(io::ErrorKind::StaleNetworkFileHandle));
        }
        let state = &mut *state;
        let inode = &state.inodes[self.inode];
        let start = (offset as usize).min(inode.bytes.len());
        let mut num_bytes = out.len().min(inode.bytes.len() - start);
        out[..num_bytes].copy_from_slice(&inode.bytes[start..start + num_bytes]);
        if state.is_nfs && inode.open_by.is_some_and(|by| by != self.disk.client) {
            // Not closed yet: its writer's system may still have the bytes.
            for sector in out[..num_bytes].chunks_mut(SECTOR) {
                if state.chooser.choose(2) == 0 {
                    sector.fill(0);
                }
            }
        }
        if num_bytes > 0 && state.chooser.once_in(state.faults.flips) {
            out[state.chooser.choose(num_bytes as u32) as usize] ^= 1 << state.chooser.choose(8);
        }
        if num_bytes > 0 && state.chooser.once_in(state.faults.short_reads) {
            num_bytes = state.chooser.choose(num_bytes as u32) as usize;
        }
        Ok(num_bytes)
    }

    fn num_bytes(&self) -> io::Result<u64> {
        let state = self.disk.step(false)?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = self.disk.step(true);
        let failure = state.as_ref().err().map(io::Error::kind);
        let mut state = match state {
            Ok(state) => state,
            // A failed write has written something, if there is someone left who could have.
            Err(_) => self.disk.machine.lock().unwrap(),
        };
        let num_bytes = match failure {
            None => bytes.len(),
            Some(_) => state.chooser.choose(bytes.len() as u32) as usize,
        };
        state.inodes[self.inode].bytes.extend_from_slice(&bytes[..num_bytes]);
        failure.map_or(Ok(()), |failure| Err(kind(failure)))
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.step(false) {
            Ok(mut state) => {
                let inode = &mut state.inodes[self.inode];
                if !inode.is_lost {
                    inode.durable = inode.bytes.clone();
                }
                Ok(())
            }
            Err(error) => {
                self.disk.machine.lock().unwrap().inodes[self.inode].is_lost = true;
                Err(error)
            }
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.is_writer
            && let Ok(mut state) = self.disk.machine.lock()
        {
            state.inodes[self.inode].open_by = None;
        }
    }
}
