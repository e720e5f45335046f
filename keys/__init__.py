"""The private-key side: turns the name or URI of a key into a ``Signer``.

No TUF, no terminal, no printing, no HTTP but that of the clients in ``kms``: passphrases, PINs, randomness and
directories come in as arguments. Only the command line imports this package. It imports nothing here, so that
listing keys stays cheap.

    errors                               the tree of what can go wrong
    pem, public_key, key_file, key_alias, pkcs11_uri, directory
                                         what lies on the disk; standard library alone
    listing                              names, public parts, places; standard library alone
    envelope, encrypted_file             the encryption of a private key
    foreign_key, notary_key              keys that other programs wrote
    store                                makes, opens, changes and removes keys
    hsm, hsm_errors, pkcs11_module       keys on tokens
    kms                                  keys in a cloud's KMS or in Vault
    verified_signer, late_import         what the two share: signatures are checked, libraries come late
    core_dumps                           no secret on a disk after a crash
    signers                              URI -> Signer, the only dispatch
"""
