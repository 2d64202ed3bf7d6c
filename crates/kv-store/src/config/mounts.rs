//! What is mounted where: the kernel's own table, as text.

use std::path::{Path, PathBuf};

/// File systems that other machines write to as well.
const SHARED: [&str; 15] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "lustre",
    "ceph",
    "beegfs",
    "gpfs",
    "wekafs",
    "9p",
    "virtiofs",
    "ocfs2",
    "gfs2",
    "glusterfs",
    "afs",
];

/// The lines of `/proc/self/mountinfo` that could be read.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    /// The directory of the file system that is seen at `point`.
    root: String,
    point: PathBuf,
    kind: String,
    source: String,
}

impl Mounts {
    /// Reads the table; a line of another form says nothing, and is passed over.
    pub fn parse(mountinfo: &str) -> Mounts {
        Mounts(mountinfo.lines().filter_map(mount).collect())
    }

    /// The directory where `export` of `server` is found here; the deepest mount that holds it.
    pub fn nfs(&self, server: &str, export: &str) -> Option<PathBuf> {
        let candidates = self.0.iter().filter(|mount| mount.kind.starts_with("nfs"));
        let found = candidates.filter_map(|mount| {
            let (host, path) = mount.source.rsplit_once(":/")?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if !host.eq_ignore_ascii_case(server) {
                return None;
            }
            let seen = PathBuf::from("/").join(path).join(mount.root.trim_start_matches('/'));
            let rest = Path::new(export).strip_prefix(&seen).ok()?;
            Some((seen.components().count(), mount.point.join(rest)))
        });
        // The last of equals: it covers those before it.
        found.max_by_key(|(depth, _)| *depth).map(|(_, path)| path)
    }

    /// Whether `path`, absolute, is on a file system that other machines may write to.
    pub fn is_shared(&self, path: &Path) -> bool {
        let holding = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        holding
            .max_by_key(|mount| mount.point.components().count())
            .is_some_and(|mount| SHARED.contains(&mount.kind.trim_start_matches("fuse.")))
    }
}

/// `36 35 98:0 /shared /point options [tags] - kind source options`.
fn mount(line: &str) -> Option<Mount> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (unescaped(place.next()?), unescaped(place.next()?));
    let mut file_system = file_system.split(' ');
    let (kind, source) = (file_system.next()?.to_owned(), unescaped(file_system.next()?));
    Some(Mount { root, point: PathBuf::from(point), kind, source })
}

/// Blanks and backslashes are written in octal: `\040`.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:50 / /srv/all rw - nfs4 vast-cluster:/ rw,vers=4.2
41 22 0:51 / /srv/kv\\040store rw - nfs vast-cluster:/cache rw,proto=rdma
42 22 0:52 / /srv/fuse rw - fuse.glusterfs g:/v rw
43 22 0:53 /sub /srv/bound rw - nfs4 [fd00::1]:/top rw
nonsense
";

    #[test]
    fn an_export_is_found_at_its_deepest_mount() {
        let mounts = Mounts::parse(TABLE);
        let at = |server, export| mounts.nfs(server, export);
        assert_eq!(at("vast-cluster", "/cache/a"), Some("/srv/kv store/a".into()));
        assert_eq!(at("VAST-cluster", "/caches"), Some("/srv/all/caches".into()));
        assert_eq!(at("fd00::1", "/top/sub/x"), Some("/srv/bound/x".into()));
        assert_eq!(at("fd00::1", "/top"), None);
        assert_eq!(at("vast", "/cache"), None);
    }

    #[test]
    fn a_path_is_as_shared_as_the_deepest_mount_above_it() {
        let mounts = Mounts::parse(TABLE);
        let shared = |path: &str| mounts.is_shared(Path::new(path));
        assert!(shared("/srv/all/x") && shared("/srv/kv store") && shared("/srv/fuse/y"));
        assert!(!shared("/srv") && !shared("/srv/allx"));
        assert!(!Mounts::default().is_shared(Path::new("/")));
    }
}
