//! Where checks look: this machine, or a folder that looks like one.

use std::collections::BTreeMap;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;

/// Files below a root, and variables.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
    variables: BTreeMap<String, String>,
}

/// A GPU, as the driver describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gpu {
    /// gfx942 and the like.
    pub arch: String,
    /// Links to other GPUs that are not PCIe's.
    pub num_xgmi_links: usize,
    /// Memory in all and in use, where the driver says.
    pub memory: Option<(u64, u64)>,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Machine {
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Machine { root: PathBuf::from("/"), variables: variables.collect() }
    }

    /// One that a test made.
    #[cfg(test)]
    pub(super) fn below(root: &Path, variables: &[(&str, &str)]) -> Machine {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Machine { root: root.to_owned(), variables: variables.iter().map(owned).collect() }
    }

    /// A variable, empty ones too: an empty HIP_VISIBLE_DEVICES hides all.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// What a file says, without blanks around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, in order; none if there is no such folder.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// AMD's GPUs, in the driver's order.
    pub(super) fn gpus(&self) -> Vec<Gpu> {
        let nodes = "/sys/class/kfd/kfd/topology/nodes";
        self.names(nodes).iter().filter_map(|node| self.gpu(&format!("{nodes}/{node}"))).collect()
    }

    fn gpu(&self, node: &str) -> Option<Gpu> {
        let properties = self.read(&format!("{node}/properties"))?;
        let property = |name: &str| number(&properties, name);
        // CPUs are nodes as well, without SIMDs.
        if property("simd_count")? == 0 {
            return None;
        }
        let version = property("gfx_target_version")?;
        // Steppings are written in base 16: gfx90a is 9.0.10.
        let arch = format!("gfx{}{}{:x}", version / 10_000, version / 100 % 100, version % 100);
        const XGMI: u64 = 11;
        let links = self.names(&format!("{node}/io_links"));
        let is_xgmi = |link: &&String| {
            let link = self.read(&format!("{node}/io_links/{link}/properties"));
            link.is_some_and(|link| number(&link, "type") == Some(XGMI))
        };
        let minor = property("drm_render_minor").unwrap_or(0);
        let of_device = |name: &str| {
            self.read(&format!("/sys/class/drm/renderD{minor}/device/{name}"))?.parse().ok()
        };
        let memory = of_device("mem_info_vram_total").zip(of_device("mem_info_vram_used"));
        Some(Gpu { arch, num_xgmi_links: links.iter().filter(is_xgmi).count(), memory })
    }
}

/// Of lines of a name and a number.
fn number(lines: &str, name: &str) -> Option<u64> {
    let mut values = lines.lines().filter_map(|line| line.split_once(' '));
    values.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}
