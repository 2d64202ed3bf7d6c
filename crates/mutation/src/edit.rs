//! One thing wrong with a source.

use std::fs;
use std::path::Path;

/// A text of a file, which is there exactly once, and what takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit<'a> {
    /// The file's path in the folder of sources, with `/`.
    pub file: &'a str,
    /// What is right.
    pub find: &'a str,
    /// What is wrong.
    pub replace: &'a str,
}

impl Edit<'_> {
    /// Where in a text what is right begins.
    ///
    /// # Errors
    ///
    /// If it is not there, or not once.
    pub fn place(&self, text: &str) -> Result<usize, String> {
        let places: Vec<usize> = text.match_indices(self.find).map(|(place, _)| place).collect();
        match places[..] {
            [place] => Ok(place),
            _ => {
                let (file, find, count) = (self.file, self.find, places.len());
                Err(format!("{file}: {find:?} is there {count} times, not once: update the fault"))
            }
        }
    }

    /// The text with what is wrong.
    ///
    /// # Errors
    ///
    /// As of [`Edit::place`].
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let place = self.place(text)?;
        Ok([&text[..place], self.replace, &text[place + self.find.len()..]].concat())
    }
}

/// Copies `files` of a folder, with what is wrong in one of them.
///
/// # Errors
///
/// If an edit's file is not among them, or its text not there once; the file system's.
pub fn copy_with(
    edits: &[Edit<'_>],
    from: &Path,
    files: &[String],
    to: &Path,
) -> Result<(), String> {
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        let told = |path: &Path, error| format!("{}: {error}", path.display());
        let mut text = fs::read_to_string(&from).map_err(|error| told(&from, error))?;
        for edit in edits.iter().filter(|edit| edit.file == file) {
            text = edit.apply(&text)?;
        }
        let folder = to.parent().unwrap_or(&to);
        fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
        fs::write(&to, text).map_err(|error| told(&to, error))?;
    }
    match edits.iter().find(|edit| !files.iter().any(|file| edit.file == file)) {
        Some(edit) => Err(format!("there is no {}", edit.file)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str) -> Result<String, String> {
        Edit { file: "a.rs", find: "b", replace: "d" }.apply(text)
    }

    #[test]
    fn a_text_that_is_not_there_once_is_an_error() {
        assert_eq!(applied("a b c").unwrap(), "a d c");
        assert!(applied("a b b").unwrap_err().contains("2 times"));
        assert!(applied("a c").unwrap_err().contains("0 times"));
    }

    #[test]
    fn a_file_that_is_not_copied_is_an_error() {
        let edit = Edit { file: "none.rs", find: "b", replace: "d" };
        let error = copy_with(&[edit], Path::new("."), &[], Path::new(".")).unwrap_err();
        assert_eq!(error, "there is no none.rs");
    }
}
