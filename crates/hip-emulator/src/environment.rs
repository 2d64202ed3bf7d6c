//! What the environment asks for: the variables that [the crate's documentation](crate) lists.

use std::env;
use std::path::PathBuf;

use gfx942_emulator::launch::{Order, Settings};
use hip_sys::bindings::hipError_t;

use crate::error::{Failure, Result};
use crate::watch::{Sanitize, Watch};

const PREFIX: &str = "KVASIR_EMU_";

/// What the environment asks for.
pub struct Environment {
    /// How launches run.
    pub settings: Settings,
    /// Whether work waits for a synchronisation.
    pub is_lazy: bool,
    /// Who watches launches.
    pub watch: Watch,
}

impl Environment {
    /// Reads the variables.
    ///
    /// # Errors
    /// If there is one that nobody knows, or a value that is none.
    pub fn read() -> Result<Self> {
        let (settings, watch) = (Settings::default(), Watch::default());
        let mut environment = Self { settings, is_lazy: false, watch };
        for (name, value) in env::vars_os() {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            let invalid = |reason: String| {
                let text = format!("{PREFIX}{name}: {reason}");
                Failure::new(hipError_t::hipErrorNotInitialized, text)
            };
            let value = value.to_str().ok_or_else(|| invalid("no text".to_owned()))?;
            environment.set(name, value).map_err(invalid)?;
        }
        Ok(environment)
    }

    fn set(&mut self, name: &str, value: &str) -> std::result::Result<(), String> {
        let Self { settings, watch, .. } = self;
        match name {
            "LAZY" => self.is_lazy = switch(value)?,
            "WAVE_ORDER" => settings.order = Order::Seeded(number(value)?),
            "POISON" => {
                let poison = u32::try_from(number(value)?);
                settings.poison = poison.map_err(|_| format!("{value} is no dword"))?;
            }
            "EXACT_MFMA" => settings.options.exact_mfma = switch(value)?,
            "ULP" => settings.options.ulp = value.parse()?,
            "SANITIZE" if value == "fail" => watch.sanitize = Sanitize::Fail,
            "SANITIZE" => watch.sanitize = Sanitize::from(switch(value)?),
            // A file whose name is a switch's can be had as ./1.
            "COUNTERS" => match switch(value) {
                Ok(is_on) => watch.counts = is_on,
                Err(_) => (watch.counts, watch.file) = (true, Some(PathBuf::from(value))),
            },
            _ => return Err("there is no such variable".to_owned()),
        }
        Ok(())
    }
}

fn switch(value: &str) -> std::result::Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" | "" => Ok(false),
        _ => Err(format!("{value:?} is neither 0 nor 1")),
    }
}

/// A decimal number, or a hexadecimal one after 0x.
fn number(value: &str) -> std::result::Result<u64, String> {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    number.map_err(|error| format!("{value:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use gfx942_emulator::exec::Ulp;

    use super::*;

    fn environment() -> Environment {
        let (settings, watch) = (Settings::default(), Watch::default());
        Environment { settings, is_lazy: false, watch }
    }

    #[test]
    fn variables_set_what_they_name() {
        let mut environment = environment();
        let variables = [
            ("LAZY", "1"),
            ("WAVE_ORDER", "7"),
            ("POISON", "0x3f800000"),
            ("EXACT_MFMA", "1"),
            ("ULP", "down"),
            ("SANITIZE", "fail"),
            ("COUNTERS", "counts.jsonl"),
        ];
        for (name, value) in variables {
            environment.set(name, value).unwrap();
        }
        let Environment { settings, is_lazy, watch } = environment;
        assert!(is_lazy && settings.options.exact_mfma && watch.counts);
        assert_eq!((settings.order, settings.poison), (Order::Seeded(7), 0x3f80_0000));
        assert_eq!((settings.options.ulp, watch.sanitize), (Ulp::Down, Sanitize::Fail));
        assert_eq!(watch.file, Some("counts.jsonl".into()));
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for (name, value) in [
            ("SANITISE", "1"),
            ("SANITIZE", "yes"),
            ("LAZY", "2"),
            ("ULP", "sideways"),
            ("WAVE_ORDER", "x"),
            ("POISON", "0x100000000"),
        ] {
            assert!(environment().set(name, value).is_err(), "{name}={value}");
        }
    }
}
