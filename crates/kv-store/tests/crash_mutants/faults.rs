//! The faults: what is right in the sources, and what is put in its place.

use mutation::Edit;

/// A fault of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub name: &'static str,
    pub edit: Edit<'static>,
    /// What it may be seen by.
    pub seen_by: &'static [&'static str],
}

const PUBLISH: &str = "tier/directory/publish.rs";
const QUARANTINE: &str = "tier/directory/quarantine.rs";
const MEMBERS: &str = "tier/directory/members.rs";
const SPACE: &str = "tier/directory/space.rs";
const EVICTOR: &str = "tier/directory/evictor.rs";
const DIRECTORY: &str = "tier/directory/mod.rs";
const LAYOUT: &str = "tier/directory/layout.rs";
const HEADER: &str = "record/header.rs";
const READ: &str = "record/read.rs";

const fn fault(
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    seen_by: &'static [&'static str],
) -> Fault {
    Fault { name, edit: Edit { file, find: right, replace: wrong }, seen_by }
}

pub const FAULTS: &[Fault] = &[
    fault(
        "a record is published before its bytes are durable",
        PUBLISH,
        "file.sync()?;",
        "();",
        &["strict"],
    ),
    fault(
        "a record's name is not made durable",
        PUBLISH,
        "self.disk.sync_dir(&self.layout.shard(key))",
        "Ok(())",
        &["strict"],
    ),
    fault(
        "a record is renamed over what is there",
        PUBLISH,
        "self.disk.link(staged, target)",
        "self.disk.rename(staged, target)",
        &["strict"],
    ),
    fault(
        "what is not known to be there is acknowledged",
        PUBLISH,
        "return Put::Failed",
        "return Put::AlreadyThere",
        &["strict", "put"],
    ),
    fault(
        "a record that was never synced is good enough",
        PUBLISH,
        "self.durability >= Durability::Data && !header.is_durable",
        "false",
        &["strict"],
    ),
    fault(
        "the digest of a layer is not checked",
        READ,
        "verify(self.layer, entry, digest, digest).err()",
        "None",
        &["bytes"],
    ),
    fault("the key of a record is not compared", HEADER, "self.key != *key", "false", &["bytes"]),
    fault(
        "a record that looks wrong is removed",
        QUARANTINE,
        "self.disk.rename(&self.layout.record(key), &aside)",
        "self.disk.remove(&self.layout.record(key))",
        &["strict"],
    ),
    fault(
        "nobody looks into quarantine at the start",
        DIRECTORY,
        "tier.recover_quarantine();",
        "();",
        &["strict"],
    ),
    fault(
        "a record goes back from quarantine under nothing but a link",
        QUARANTINE,
        "self.restore(aside, key, header.is_durable)",
        "self.restore(aside, key, false)",
        &["strict"],
    ),
    fault(
        "the dead's staging files stay",
        MEMBERS,
        "is_dead(writer) || is_own",
        "is_own",
        &["left"],
    ),
    fault(
        "the dead's names stay",
        MEMBERS,
        "is_stale || is_dead(member.writer)",
        "is_stale",
        &["left"],
    ),
    fault(
        "what is announced does not count",
        SPACE,
        "self.physical_bytes + self.reserved_bytes",
        "self.physical_bytes",
        &["cap"],
    ),
    fault(
        "the cap is not looked at",
        SPACE,
        "taken.total().saturating_sub(self.cap_bytes)",
        "0",
        &["cap"],
    ),
    fault(
        "what is evicted stays",
        EVICTOR,
        "self.disk.remove(&self.layout.record(victim))",
        "io::Result::Ok(())",
        &["cap"],
    ),
    fault(
        "the directories are not made durable",
        LAYOUT,
        "disk.sync_dir(path).map_err(|error| (path.to_path_buf(), error))?;",
        "();",
        &["strict"],
    ),
];
