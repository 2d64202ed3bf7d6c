//! Who uses the directory, and what they left behind.
//!
//! Each process has one empty file, whose name says who it is, how often it has shown a sign of life, and how
//! many bytes it may still write. Whoever's name has not changed for a lease, by the watcher's own clock, is
//! dead: clocks of different machines are never compared.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use super::layout::{parse_staged, parse_writer};
use super::{DirectoryTier, lock};
use crate::record::WriterId;

/// What a member's file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) writer: WriterId,
    beat: u64,
    pub(super) reserved_bytes: u64,
}

impl Member {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let writer = parse_writer(parts.next()?)?;
        let beat = parts.next()?.parse().ok()?;
        let reserved_bytes = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Member { writer, beat, reserved_bytes })
    }

    fn name(&self) -> String {
        format!("{:032x}.{}.{}", self.writer.0, self.beat, self.reserved_bytes)
    }
}

/// When a writer last showed a sign of life, as far as this process saw.
#[derive(Clone, Copy, Debug)]
struct Sign {
    member: Option<Member>,
    since_ms: u64,
}

/// What this process knows of the others.
#[derive(Debug, Default)]
pub(super) struct Members {
    own: Option<Member>,
    own_beat_ms: u64,
    signs: BTreeMap<WriterId, Sign>,
}

impl Members {
    /// Whether a writer is dead, as far as this process saw.
    pub(super) fn is_dead(&self, writer: WriterId, now_ms: u64, lease_ms: u64) -> bool {
        self.signs.get(&writer).is_some_and(|sign| now_ms.saturating_sub(sign.since_ms) >= lease_ms)
    }

    /// Whether a writer was seen in the last lease. Attendance is taken before this is asked.
    pub(super) fn knows(&self, writer: WriterId) -> bool {
        self.signs.contains_key(&writer)
    }

    /// Whether others are there.
    pub(super) fn has_others(&self, own: WriterId) -> bool {
        self.signs.iter().any(|(writer, sign)| *writer != own && sign.member.is_some())
    }

    fn see(&mut self, writer: WriterId, member: Option<Member>, now_ms: u64) {
        let sign = self.signs.entry(writer).or_insert(Sign { member, since_ms: now_ms });
        if sign.member != member {
            *sign = Sign { member, since_ms: now_ms };
        }
    }
}

impl DirectoryTier {
    /// Announces this process.
    pub(super) fn join(&self) -> io::Result<()> {
        self.announce(&mut lock(&self.space).members, 0)
    }

    /// This process is done.
    pub(super) fn leave(&self) {
        if let Some(own) = lock(&self.space).members.own.take() {
            let _ = self.disk.remove(&self.member_path(&own));
        }
    }

    /// Shows a sign of life, with the bytes that this process may still write.
    pub(super) fn announce(&self, members: &mut Members, reserved_bytes: u64) -> io::Result<()> {
        let beat = members.own.map_or(0, |own| own.beat + 1);
        let next = Member { writer: self.writer, beat, reserved_bytes };
        let to = self.member_path(&next);
        let renamed = members.own.map(|own| self.disk.rename(&self.member_path(&own), &to));
        match renamed {
            Some(Ok(())) => {}
            // The first time; or others took this process for dead and removed its file.
            None => drop(self.disk.create_new(&to)?),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                drop(self.disk.create_new(&to)?);
            }
            Some(Err(error)) => return Err(error),
        }
        members.own = Some(next);
        members.own_beat_ms = self.clock.monotonic_ms();
        Ok(())
    }

    fn member_path(&self, member: &Member) -> PathBuf {
        self.layout.members.join(member.name())
    }

    /// A sign of life from time to time.
    pub(super) fn beat(&self) {
        let mut space = lock(&self.space);
        let since_ms = self.clock.monotonic_ms().saturating_sub(space.members.own_beat_ms);
        if since_ms >= self.lease_ms / 8 {
            let reserved_bytes = space.reserved_bytes();
            // If the storage does not take it, the next one may come in time.
            let _ = self.announce(&mut space.members, reserved_bytes);
        }
    }

    /// Looks who is there, and removes what the dead left behind. Gives what the living may still write, and
    /// what lies in staging.
    pub(super) fn take_attendance(&self, members: &mut Members) -> io::Result<(u64, u64)> {
        let now_ms = self.clock.monotonic_ms();
        let listed = self.disk.list(&self.layout.members)?;
        let present: Vec<Member> =
            listed.iter().filter_map(|file| Member::parse(&file.name)).collect();
        // After a loss of power a writer may have several names: its last one counts.
        let mut latest: BTreeMap<WriterId, Member> = BTreeMap::new();
        for member in &present {
            let known = latest.entry(member.writer).or_insert(*member);
            if known.beat < member.beat {
                *known = *member;
            }
        }
        let staged = self.disk.list(&self.layout.staging)?;
        for member in latest.values() {
            members.see(member.writer, Some(*member), now_ms);
        }
        let in_staging: Vec<_> =
            staged.iter().map(|file| (file, parse_staged(&file.name))).collect();
        let writers = in_staging.iter().filter_map(|(_, parsed)| *parsed).map(|(writer, _)| writer);
        let known: Vec<_> = members.signs.keys().copied().chain(writers).collect();
        for writer in known {
            if !latest.contains_key(&writer) {
                members.see(writer, None, now_ms);
            }
        }
        let is_dead =
            |writer| writer != self.writer && members.is_dead(writer, now_ms, self.lease_ms);
        let mut staged_bytes = 0;
        for (file, parsed) in &in_staging {
            let is_left = parsed.is_some_and(|(writer, sequence)| {
                let is_own = writer == self.writer;
                is_dead(writer) || is_own && !lock(&self.in_flight).contains(&sequence)
            });
            if is_left && self.disk.remove(&self.layout.staging.join(&file.name)).is_ok() {
                self.counters.swept.fetch_add(1, Relaxed);
            } else {
                staged_bytes += file.physical_bytes;
            }
        }
        let mut reserved_bytes = 0;
        for member in &present {
            // Own names that are not the last come from renames whose answer was lost.
            let is_stale = member.writer == self.writer && Some(*member) != members.own;
            if is_stale || is_dead(member.writer) {
                let _ = self.disk.remove(&self.member_path(member));
            } else {
                reserved_bytes += member.reserved_bytes;
            }
        }
        let alive = |writer: &WriterId, sign: &mut Sign| {
            *writer == self.writer
                || sign.member.is_some()
                || now_ms - sign.since_ms < self.lease_ms
        };
        members.signs.retain(|writer, sign| alive(writer, sign));
        Ok((reserved_bytes, staged_bytes))
    }
}
