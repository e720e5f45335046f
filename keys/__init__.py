"""The private-key side: turns the name or URI of a key into a ``Signer``.

No TUF, no HTTP, no terminal, no printing: passphrases, randomness and directories come in as arguments.
Only the command line imports this package. It imports nothing here, so that listing keys stays cheap.

    errors                               the tree of what can go wrong
    pem, public_key, key_file, directory what lies on the disk; standard library alone
    listing                              names and public parts; standard library alone
    envelope, encrypted_file             the encryption of a private key
    foreign_key                          keys that other programs wrote
    store                                makes, opens, changes and removes keys
    signers                              URI -> Signer, the only dispatch
"""
