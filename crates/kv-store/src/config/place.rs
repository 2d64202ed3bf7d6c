//! Where chunks are kept outside memory: a directory, an NFS export by address, a bucket.

use std::path::PathBuf;

use super::keys::nearest;
use super::s3::S3Settings;

/// What a place looks like, for an error.
pub(super) const A_PLACE: &str =
    "a directory, file:///DIRECTORY, nfs://SERVER/EXPORT or s3://BUCKET/PREFIX";

/// A place as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A directory of this machine, whatever file system it is on.
    Directory(PathBuf),
    /// A directory of an NFS server, wherever it may be mounted here.
    Nfs {
        /// The server's name, as the mount has it.
        server: String,
        /// The path on the server, with its leading `/`.
        export: String,
    },
    /// Objects of a bucket.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; empty, or without `/` at both ends.
        prefix: String,
        /// What its URL says behind `?`.
        settings: S3Settings,
    },
}

impl Address {
    /// Understands `text`; the error says what was expected.
    pub fn parse(text: &str) -> Result<Address, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return directory(text);
        };
        match scheme {
            "file" => match rest.starts_with('/') {
                true => directory(rest),
                false => Err("file:/// and an absolute path: three slashes".to_owned()),
            },
            "nfs" => nfs(rest),
            "s3" => bucket(rest),
            other => {
                let hint = nearest(other, ["file", "nfs", "s3"])
                    .map(|near| format!(" (did you mean {near}://?)"))
                    .unwrap_or_default();
                Err(format!("{A_PLACE}{hint}"))
            }
        }
    }
}

fn directory(path: &str) -> Result<Address, String> {
    match path.is_empty() || path.contains('\0') {
        true => Err(A_PLACE.to_owned()),
        false => Ok(Address::Directory(PathBuf::from(path))),
    }
}

fn nfs(rest: &str) -> Result<Address, String> {
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let segments = segments(path)?;
    match server.is_empty() || server.contains(|c: char| c.is_whitespace() || c == '@') {
        true => Err("nfs://SERVER/EXPORT".to_owned()),
        false => Ok(Address::Nfs {
            server: server.to_owned(),
            export: format!("/{}", segments.join("/")),
        }),
    }
}

fn bucket(rest: &str) -> Result<Address, String> {
    let (rest, query) =
        rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let settings = query.map(S3Settings::of_query).transpose()?.unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match (3..=63).contains(&bucket.len()) && bucket.chars().all(allowed) {
        true => {
            let (bucket, prefix) = (bucket.to_owned(), segments(prefix)?.join("/"));
            Ok(Address::Bucket { bucket, prefix, settings })
        }
        false => Err("s3://BUCKET/PREFIX with a bucket of 3 to 63 letters, digits, - and .".into()),
    }
}

/// The parts of a path that climbs nowhere and means what it says.
fn segments(path: &str) -> Result<Vec<&str>, String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let odd = |c: char| c.is_control() || matches!(c, '%' | '?' | '#' | '\\');
    match segments.iter().any(|segment| matches!(*segment, "." | "..") || segment.contains(odd)) {
        true => Err(format!("{A_PLACE}, without .., %, ? and #")),
        false => Ok(segments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_schemes_and_plain_paths() {
        let directory = |path: &str| Ok(Address::Directory(PathBuf::from(path)));
        assert_eq!(Address::parse("/srv/nvme/lmcache"), directory("/srv/nvme/lmcache"));
        assert_eq!(Address::parse("file:///a/b"), directory("/a/b"));
        let nfs = |server: &str, export: &str| {
            Ok(Address::Nfs { server: server.to_owned(), export: export.to_owned() })
        };
        assert_eq!(Address::parse("nfs://vast-cluster/cache/"), nfs("vast-cluster", "/cache"));
        assert_eq!(Address::parse("nfs://vast"), nfs("vast", "/"));
        let bucket = |settings| {
            Ok(Address::Bucket { bucket: "kv-chunks".into(), prefix: "a/b".into(), settings })
        };
        assert_eq!(Address::parse("s3://kv-chunks//a/b/"), bucket(S3Settings::default()));
        let region = S3Settings { region: Some("eu-1".to_owned()), ..S3Settings::default() };
        assert_eq!(Address::parse("s3://kv-chunks/a/b?region=eu-1"), bucket(region));
    }

    #[test]
    fn what_is_no_place_says_why() {
        assert!(Address::parse("nsf://a/b").unwrap_err().contains("nfs://?"));
        for wrong in [
            "",
            "file://host/x",
            "nfs:///x",
            "nfs://a/../b",
            "s3://a/b",
            "s3://ab%c/x",
            "nfs://a/b?region=eu-1",
            "s3://abc/x?",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
