//! The token's wire format: claims, compact JWS, signing, JWKS, scopes.
//!
//! What any JWT library understands once the `rai_live_` or `rai_test_` prefix is cut off
//! (RFC 7519, RFC 8037, RFC 9068). Depends on nothing else of ours: an SDK could take this folder
//! as it is. Must not know what has been issued, revoked or by whom.
