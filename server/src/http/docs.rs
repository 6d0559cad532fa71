//! The OpenAPI document and the pages that explain each code.
