//! What a model is called: a path, a known name, or a repository on a hub.

use std::path::{Path, PathBuf};

use super::error::HubError;
use super::known::{KNOWN_MODELS, KnownModel};

/// A model's name, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// A GGUF file or a directory that exists.
    Path(PathBuf),
    /// One of [`KNOWN_MODELS`].
    Known(&'static KnownModel),
    /// A repository with Hugging Face's HTTP interface.
    Hf(HfName),
}

/// `hf:ORG/MODEL[@REVISION][:FILE.gguf]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfName {
    /// Owner.
    pub org: String,
    /// Repository.
    pub model: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The GGUF file to take; `None`: the whole model in transformers' layout.
    pub gguf: Option<String>,
}

impl ModelName {
    /// Understands `name`: what exists as a path is a path, whatever else it may be.
    ///
    /// # Errors
    /// [`HubError::BadReference`], [`HubError::NoSuchPath`] or [`HubError::UnknownModel`].
    pub fn parse(name: &str) -> Result<ModelName, HubError> {
        if let Some(reference) = name.strip_prefix("hf:") {
            return Ok(ModelName::Hf(HfName::parse(reference)?));
        }
        let path = Path::new(name);
        if path.exists() {
            return Ok(ModelName::Path(path.to_path_buf()));
        }
        if let Some(model) = KNOWN_MODELS.iter().find(|model| model.is_called(name)) {
            return Ok(ModelName::Known(model));
        }
        let looks_like_path = name.contains(['/', '\\'])
            || name.starts_with('.')
            || path.extension().is_some_and(|extension| {
                ["gguf", "safetensors"].iter().any(|known| extension.eq_ignore_ascii_case(known))
            });
        if looks_like_path {
            return Err(HubError::NoSuchPath { path: path.to_path_buf() });
        }
        let candidates = KNOWN_MODELS
            .iter()
            .flat_map(|model| std::iter::once(model.name).chain(model.aliases.iter().copied()));
        Err(HubError::UnknownModel {
            name: name.to_owned(),
            nearest: nearest_name(name, candidates).map(str::to_owned),
            known: KNOWN_MODELS.map(|model| model.name).join(", "),
        })
    }
}

impl HfName {
    /// Understands what follows `hf:`.
    ///
    /// # Errors
    /// [`HubError::BadReference`].
    pub fn parse(reference: &str) -> Result<HfName, HubError> {
        let bad = |reason| HubError::BadReference { reference: format!("hf:{reference}"), reason };
        let (repo, gguf) = match reference.split_once(':') {
            Some((repo, file)) => (repo, Some(file)),
            None => (reference, None),
        };
        let (repo, revision) = repo.split_once('@').unwrap_or((repo, "main"));
        let (org, model) = repo.split_once('/').ok_or_else(|| bad("names no organisation"))?;
        if !is_plain_segment(org) || !is_plain_segment(model) {
            return Err(bad(
                "has an organisation or model that is empty or has letters other than A-Z a-z 0-9 . _ -",
            ));
        }
        if revision.len() > 200 || !revision.split('/').all(is_plain_segment) {
            return Err(bad("has a revision that is no branch, tag or commit"));
        }
        let is_gguf = |file: &str| file.to_ascii_lowercase().ends_with(".gguf");
        if gguf.is_some_and(|file| !is_safe_file_name(file) || !is_gguf(file)) {
            return Err(bad("chooses a file that is not a GGUF file of the repository"));
        }
        Ok(HfName {
            org: org.to_owned(),
            model: model.to_owned(),
            revision: revision.to_owned(),
            gguf: gguf.map(str::to_owned),
        })
    }

    /// `hf:ORG/MODEL`, with the revision unless it is `main`.
    pub fn repo(&self) -> String {
        match self.revision.as_str() {
            "main" => format!("hf:{}/{}", self.org, self.model),
            revision => format!("hf:{}/{}@{revision}", self.org, self.model),
        }
    }
}

/// A segment that is the same in a URL and on any file system.
fn is_plain_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= 96
        && !segment.starts_with('.')
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A relative path that stays in its folder, whatever the operating system.
pub(super) fn is_safe_file_name(name: &str) -> bool {
    name.len() <= 1024
        && name.split('/').all(|segment| {
            !segment.is_empty()
                && segment.len() <= 200
                && segment != "."
                && segment != ".."
                && !segment.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
        })
}

/// The candidate spelt most like `word`, if any is close enough to be what was meant.
pub fn nearest_name<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&word, &name.to_ascii_lowercase()), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hf_names_are_taken_apart() {
        let name = HfName::parse("org/m-1.5@refs/pr/3:sub/q4.gguf").unwrap();
        assert_eq!((name.org.as_str(), name.model.as_str()), ("org", "m-1.5"));
        assert_eq!(name.revision, "refs/pr/3");
        assert_eq!(name.gguf.as_deref(), Some("sub/q4.gguf"));
        let plain = HfName::parse("org/model").unwrap();
        assert_eq!((plain.revision.as_str(), plain.gguf), ("main", None));
    }

    #[test]
    fn hostile_hf_names_are_refused() {
        for name in [
            "model",
            "/model",
            "org/",
            "../x",
            "org/..",
            "org/a/b",
            "org/m@",
            "org/m@../x",
            "org/m@a//b",
            "org/m:x.bin",
            "org/m:../x.gguf",
            "org/m:/x.gguf",
            "org/m:a\\b.gguf",
            "org/m?x=1",
            "org/m ",
            "org/m:",
        ] {
            assert!(matches!(HfName::parse(name), Err(HubError::BadReference { .. })), "{name}");
        }
    }

    #[test]
    fn known_names_are_found_whatever_their_case() {
        for name in ["smollm2-135m", "SmolLM2-135M-Instruct", "SMOLLM2-135M"] {
            assert!(
                matches!(ModelName::parse(name).unwrap(), ModelName::Known(model) if model.name == "smollm2-135m"),
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_names_get_the_nearest_known_one() {
        let error = ModelName::parse("smolm2-135").unwrap_err().to_string();
        assert!(error.contains("did you mean `smollm2-135m`?"), "{error}");
        let error = ModelName::parse("gpt-4").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
        assert!(error.contains("smollm2-135m"), "{error}");
    }

    #[test]
    fn missing_paths_are_called_paths() {
        for name in ["nowhere/model", "absent.gguf", "./absent"] {
            assert!(matches!(ModelName::parse(name), Err(HubError::NoSuchPath { .. })), "{name}");
        }
    }
}
