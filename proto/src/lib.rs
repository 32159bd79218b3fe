//! Windvane's wire: versioned protobuf packages, and the border where their messages become trusted types.
//!
//! The generated messages are plain data from a stranger. [`decode`] is the only way to them: it holds every list
//! against a named limit before anything is allocated. [`convert`] is the only way from them to the types of
//! `windvane-protocols`; there the same is done with every other size, and every group element, scalar and signature
//! record is checked for form.

pub mod convert;
pub mod decode;

/// Generated from `common/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod common {
    pub mod v1 {
        tonic::include_proto!("windvane.common.v1");
    }
}

/// Generated from `lookup/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod lookup {
    pub mod v1 {
        tonic::include_proto!("windvane.lookup.v1");
    }
}

/// Generated from `audit/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod audit {
    pub mod v1 {
        tonic::include_proto!("windvane.audit.v1");
    }
}

/// Generated from `psi/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod psi {
    pub mod v1 {
        tonic::include_proto!("windvane.psi.v1");
    }
}

/// Generated from `score/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod score {
    pub mod v1 {
        tonic::include_proto!("windvane.score.v1");
    }
}

/// Generated from `train/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated code
pub mod train {
    pub mod v1 {
        tonic::include_proto!("windvane.train.v1");
    }
}
