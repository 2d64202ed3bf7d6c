//! Devices, by their makers' figures and by what public measurements reach.

use engine_core::dtype::DType;
use serde::Serialize;

/// What a device can do in a second, as good kernels reach it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Bytes from its memory.
    pub memory_bytes_per_s: f64,
    /// FLOP of matrix products in 16 bits.
    pub flop_per_s: f64,
    /// Bytes from the host.
    pub host_link_bytes_per_s: f64,
    /// Where the figures are from.
    pub source: &'static str,
}

/// A device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceProfile {
    /// What it is called in `--device`.
    pub name: &'static str,
    /// Its memory, bytes.
    pub memory_bytes: u64,
    /// `None`: measure.
    pub rates: Option<Rates>,
    /// Its FP8 is FNUZ.
    pub has_fnuz: bool,
    /// Bytes that an element of a matrix input of a format takes: on CPUs often more than the format's.
    #[serde(skip)]
    pub act_size_bytes: fn(DType) -> usize,
}

const GIB: u64 = 1 << 30;
/// What a link of PCIe 5, 16 lanes, carries of its 63 GB/s.
const PCIE5: f64 = 50e9;
/// What long matrix products and streams reach of peaks where nothing better is known.
const USUAL_SHARE: f64 = 0.7;

/// All but this host, whose memory has to be asked for.
pub const DEVICES: [DeviceProfile; 5] = [
    DeviceProfile {
        name: "mi300x",
        memory_bytes: 192 * GIB,
        rates: Some(Rates {
            memory_bytes_per_s: 4.3e12,
            flop_per_s: 708e12,
            host_link_bytes_per_s: PCIE5,
            source: "measured by others: 4.3 of 5.3 TB/s, 708 of 1307 TFLOP/s",
        }),
        has_fnuz: true,
        act_size_bytes: DType::size_bytes,
    },
    DeviceProfile {
        name: "mi325x",
        memory_bytes: 256 * GIB,
        rates: Some(Rates {
            memory_bytes_per_s: 6.0e12 * 4.3 / 5.3,
            flop_per_s: 708e12,
            host_link_bytes_per_s: PCIE5,
            source: "the MI300X's shares of 6.0 TB/s and 1307 TFLOP/s",
        }),
        has_fnuz: true,
        act_size_bytes: DType::size_bytes,
    },
    DeviceProfile {
        name: "gaudi3",
        memory_bytes: 128 * GIB,
        rates: Some(Rates {
            memory_bytes_per_s: 3.7e12 * USUAL_SHARE,
            flop_per_s: 1835e12 * USUAL_SHARE,
            host_link_bytes_per_s: PCIE5,
            source: "0.7 of 3.7 TB/s and 1835 TFLOP/s",
        }),
        has_fnuz: false,
        act_size_bytes: DType::size_bytes,
    },
    DeviceProfile {
        name: "h100",
        memory_bytes: 80 * GIB,
        rates: Some(Rates {
            memory_bytes_per_s: 3.35e12 * USUAL_SHARE,
            flop_per_s: 989e12 * USUAL_SHARE,
            host_link_bytes_per_s: PCIE5,
            source: "0.7 of 3.35 TB/s and 989 TFLOP/s",
        }),
        has_fnuz: false,
        act_size_bytes: DType::size_bytes,
    },
    DeviceProfile {
        name: "h200",
        memory_bytes: 141 * GIB,
        rates: Some(Rates {
            memory_bytes_per_s: 4.8e12 * USUAL_SHARE,
            flop_per_s: 989e12 * USUAL_SHARE,
            host_link_bytes_per_s: PCIE5,
            source: "0.7 of 4.8 TB/s and 989 TFLOP/s",
        }),
        has_fnuz: false,
        act_size_bytes: DType::size_bytes,
    },
];

impl DeviceProfile {
    /// A device by its name.
    pub fn named(name: &str) -> Option<DeviceProfile> {
        DEVICES.into_iter().find(|device| device.name == name)
    }

    /// This machine, of which only the memory is known.
    pub fn host() -> DeviceProfile {
        DeviceProfile {
            name: "host",
            memory_bytes: engine::host_memory_bytes(),
            rates: None,
            has_fnuz: false,
            act_size_bytes: engine::host_act_size_bytes,
        }
    }
}
