//! Packages of a newer Debian than the machine's, by the machine's own apt and from its own mirror.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process;

/// The first release whose hipcc targets gfx942 and has `hip_fp8.h`.
pub const RELEASE: &str = "forky";

/// hipcc brings its clang, lld, device libraries, libamdhip64 and their headers. patchelf is taken
/// along, so that the machine needs none.
const PACKAGES: [&str; 2] = ["hipcc", "patchelf"];

/// What Debian signs its releases with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fails, with the reason, on a machine where this cannot work.
pub fn check_machine() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "there are packages for x86-64 only");
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    ensure!(is_debian(&os), "it is made of Debian's packages, and this machine is not Debian");
    for program in ["apt-get", "dpkg-deb"] {
        let found = process::succeeds(Command::new(program).arg("--version"));
        ensure!(found, "it is made of Debian's packages, and this machine has no {program}");
    }
    ensure!(
        Path::new(KEYRING).exists(),
        "no {KEYRING} to check packages with: apt-get install debian-archive-keyring"
    );
    Ok(())
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line.trim() == "ID=debian")
}

/// apt's view of one release, in a folder of its own: the machine's package state is neither read
/// nor changed. Its settings (proxy, credentials) hold.
pub struct Archive {
    /// The machine's own mirror.
    pub mirror: String,
    dir: PathBuf,
}

impl Archive {
    /// Lays out the folder `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let mut targets = Command::new("apt-get");
        targets.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]);
        let targets = process::stdout_of(targets.arg("Created-By: Packages"))?;
        let mirror = mirror(&targets)?;
        for folder in ["state/lists/partial", "cache/archives/partial", "sources", "none"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("status"), "")?;
        let sources = format!(
            "Types: deb\nURIs: {mirror}\nSuites: {RELEASE}\nComponents: main\nSigned-By: {KEYRING}\n"
        );
        fs::write(dir.join("sources/release.sources"), sources)?;
        fs::write(dir.join("apt.conf"), settings(dir)?)?;
        Ok(Archive { mirror, dir: dir.to_owned() })
    }

    /// Fetches the list of packages.
    pub fn update(&self) -> Result<()> {
        process::run_logged(self.apt_get().arg("update"), &self.dir.join("update.log"))
    }

    /// Fetches the packages and all that they depend on; the files.
    pub fn download(&self) -> Result<Vec<PathBuf>> {
        let mut install = self.apt_get();
        install.args(["install", "--yes", "--no-install-recommends", "--download-only"]);
        process::run_logged(install.args(PACKAGES), &self.dir.join("download.log"))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(self.dir.join("cache/archives"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// apt's configuration for the folder `dir`.
fn settings(dir: &Path) -> Result<String> {
    let dir = dir.to_str().context("the cache folder's name is no UTF-8")?;
    ensure!(!dir.contains(['"', '\n']), "apt cannot work in the folder {dir:?}");
    // A package that the machine has may be too old: an empty status has apt fetch all of them.
    let values = [
        ("Dir::Etc::SourceList", format!("{dir}/none/list")),
        ("Dir::Etc::SourceParts", format!("{dir}/sources")),
        ("Dir::Etc::Preferences", format!("{dir}/none/preferences")),
        ("Dir::Etc::PreferencesParts", format!("{dir}/none")),
        ("Dir::State", format!("{dir}/state")),
        ("Dir::State::status", format!("{dir}/status")),
        ("Dir::Cache", format!("{dir}/cache")),
        ("APT::Architecture", "amd64".to_owned()),
        ("APT::Architectures", "amd64".to_owned()),
        ("APT::Default-Release", RELEASE.to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
        // apt as root would read as a user who may not enter a home folder.
        ("APT::Sandbox::User", "root".to_owned()),
    ];
    Ok(values.map(|(name, value)| format!("{name} \"{value}\";\n")).concat())
}

/// The first archive that is no security archive: those hold single packages only.
fn mirror(targets: &str) -> Result<String> {
    for line in targets.lines() {
        if let [uri, release, "main"] = line.split_whitespace().collect::<Vec<_>>()[..]
            && !release.contains("-security")
        {
            return Ok(uri.to_owned());
        }
    }
    bail!("apt knows no Debian mirror: its sources have no line with the component main")
}

/// Unpacks the files of `packages` into `root`. Their installation scripts do not run.
pub fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    ensure!(!packages.is_empty(), "apt fetched no package");
    for package in packages {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(package).arg(root);
        process::stdout_of(&mut unpack)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_is_debian() {
        assert!(is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_debian(""));
    }

    #[test]
    fn the_mirror_is_the_machines_main_archive() {
        let targets = "\
https://mirror.test/debian-security/ bookworm-security main
https://mirror.test/nonfree/ bookworm non-free
https://mirror.test/debian/ bookworm main
https://other.test/debian/ bookworm main
";
        assert_eq!(mirror(targets).unwrap(), "https://mirror.test/debian/");
        assert!(mirror("https://mirror.test/debian-security/ bookworm-security main").is_err());
        assert!(mirror("").is_err());
    }

    #[test]
    fn a_folder_that_would_end_apts_string_is_refused() {
        assert!(settings(Path::new("a/b")).unwrap().contains("Dir::State \"a/b/state\";\n"));
        assert!(settings(Path::new("a\"b")).is_err());
    }
}
