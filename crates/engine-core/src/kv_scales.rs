//! Scales of an FP8 KV cache: what brings a layer's keys and values into the format's range.

use alloc::vec;
use alloc::vec::Vec;

/// One scale for the keys and one for the values of each layer and KV head: stored is
/// `code = round(x / scale)`, and `code · scale` is read.
#[derive(Clone, Debug, PartialEq)]
pub struct KvScales {
    num_kv_heads: usize,
    /// `[num_layers, num_kv_heads]`.
    k: Vec<f32>,
    /// `[num_layers, num_kv_heads]`.
    v: Vec<f32>,
}

/// One layer's scales, one per KV head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerScales<'a> {
    /// Of keys.
    pub k: &'a [f32],
    /// Of values.
    pub v: &'a [f32],
}

impl KvScales {
    /// 1 everywhere: values are stored as they are.
    pub fn ones(num_layers: usize, num_kv_heads: usize) -> Self {
        let ones = || vec![1.0; num_layers * num_kv_heads];
        KvScales { num_kv_heads, k: ones(), v: ones() }
    }

    /// The scales of `num_kv_heads` heads for each layer: `k` and `v` `[num_layers, num_kv_heads]`.
    ///
    /// # Errors
    /// [`KvScaleError`] unless `k` and `v` are whole layers, equally many, of positive normal
    /// numbers.
    pub fn new(num_kv_heads: usize, k: Vec<f32>, v: Vec<f32>) -> Result<Self, KvScaleError> {
        let is_whole = num_kv_heads > 0 && k.len().is_multiple_of(num_kv_heads);
        if !is_whole || k.len() != v.len() {
            return Err(KvScaleError::Count { k: k.len(), v: v.len(), num_kv_heads });
        }
        let unusable = |&&scale: &&f32| !(scale.is_normal() && scale > 0.0);
        match k.iter().chain(&v).find(unusable) {
            Some(&scale) => Err(KvScaleError::Value { scale }),
            None => Ok(KvScales { num_kv_heads, k, v }),
        }
    }

    /// Layers.
    pub fn num_layers(&self) -> usize {
        self.k.len() / self.num_kv_heads.max(1)
    }

    /// KV heads of a layer.
    pub fn num_kv_heads(&self) -> usize {
        self.num_kv_heads
    }

    /// Scales of one layer.
    pub fn layer(&self, layer_idx: usize) -> LayerScales<'_> {
        let heads = layer_idx * self.num_kv_heads..(layer_idx + 1) * self.num_kv_heads;
        LayerScales { k: &self.k[heads.clone()], v: &self.v[heads] }
    }

    /// Whether they change nothing.
    pub fn is_ones(&self) -> bool {
        self.k.iter().chain(&self.v).all(|&scale| scale == 1.0)
    }

    /// The same for the FNUZ flavour: scales made for OCP codes are doubled, because gfx942's
    /// largest e4m3 number is 240 and not 448.
    pub fn doubled(&self) -> Self {
        let doubled = |scales: &[f32]| scales.iter().map(|scale| 2.0 * scale).collect();
        KvScales { num_kv_heads: self.num_kv_heads, k: doubled(&self.k), v: doubled(&self.v) }
    }

    /// All numbers, for digests: keys', then values'.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.k.iter().chain(&self.v).copied()
    }
}

/// Why numbers are no scales.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvScaleError {
    /// Not a layer's number of scales.
    #[error("{k} scales of keys and {v} of values are no whole layers of {num_kv_heads} KV heads")]
    Count {
        /// Scales of keys.
        k: usize,
        /// Scales of values.
        v: usize,
        /// KV heads of a layer.
        num_kv_heads: usize,
    },
    /// Division by it would leave the numbers.
    #[error("a KV scale is {scale:e}; scales must be positive normal numbers")]
    Value {
        /// The number.
        scale: f32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_their_own_heads() {
        let scales = KvScales::new(2, vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]).unwrap();
        assert_eq!((scales.num_layers(), scales.is_ones()), (2, false));
        assert_eq!(scales.layer(1), LayerScales { k: &[3.0, 4.0], v: &[7.0, 8.0] });
        assert_eq!(scales.doubled().layer(0), LayerScales { k: &[2.0, 4.0], v: &[10.0, 12.0] });
        assert!(KvScales::ones(3, 2).is_ones());
    }

    #[test]
    fn what_is_no_scale_is_refused() {
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            assert!(KvScales::new(1, vec![1.0], vec![bad]).is_err(), "{bad}");
            assert!(KvScales::new(1, vec![bad], vec![1.0]).is_err(), "{bad}");
        }
        assert!(KvScales::new(2, vec![1.0; 3], vec![1.0; 3]).is_err());
        assert!(KvScales::new(1, vec![1.0; 3], vec![1.0; 2]).is_err());
        assert!(KvScales::new(0, Vec::new(), Vec::new()).is_err());
    }
}
