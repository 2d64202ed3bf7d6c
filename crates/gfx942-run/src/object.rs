//! Code objects from a file, and kernels by name.

use std::path::Path;

use anyhow::{Context, Result, bail};
use code_object::{CodeObject, Kernel, Target};

/// The code objects in `path` that run on an MI300X.
pub fn read(path: &Path) -> Result<Vec<CodeObject>> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let objects =
        code_object::extract(&bytes, Target::MI300X).with_context(|| shown.to_string())?;
    objects
        .iter()
        .map(|object| CodeObject::parse(object).with_context(|| shown.to_string()))
        .collect()
}

/// The kernel `name` with its code object; its error lists the names that there are.
pub fn find<'a>(objects: &'a [CodeObject], name: &str) -> Result<(&'a CodeObject, &'a Kernel)> {
    let found = objects.iter().find_map(|object| Some((object, object.kernel(name)?)));
    let Some(found) = found else {
        let kernels = objects.iter().flat_map(|object| &object.kernels);
        let names: Vec<&str> = kernels.map(|kernel| kernel.name.as_str()).collect();
        bail!("no kernel {name}; there are: {}", names.join(", "));
    };
    Ok(found)
}
