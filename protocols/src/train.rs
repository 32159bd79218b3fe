//! Joint training: boosting over encrypted residuals, for the sums that the joint score is made of.

pub mod decode;
pub mod elgamal;
pub mod mask;
pub mod sums;
