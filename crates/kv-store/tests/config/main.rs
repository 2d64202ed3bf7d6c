//! The recipe's configurations as they stand, what they are refused for when altered, and any text at all.

mod applied;
mod arbitrary;
mod machine;
mod recipe;
mod refusals;
