/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Made by ssh-keygen of OpenSSH 9.2 and by git 2.39.5; the signatures are over "hello magicbiz". */
#ifndef MB_SIGN_VECTORS_H
#define MB_SIGN_VECTORS_H

static const char key_file[] =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
    "QyNTUxOQAAACDgTc1JI1UPaZ+GvmlFLq0RWKCM8AEOQyJ1IoK3VOGzxwAAAJDEi6wexIus\n"
    "HgAAAAtzc2gtZWQyNTUxOQAAACDgTc1JI1UPaZ+GvmlFLq0RWKCM8AEOQyJ1IoK3VOGzxw\n"
    "AAAEAZ9ddxmrOrS3pZHxdarYcGuMS5sbO1LvFJHGPjNYqGe+BNzUkjVQ9pn4a+aUUurRFY\n"
    "oIzwAQ5DInUigrdU4bPHAAAADWFsaWNlQGV4YW1wbGU=\n"
    "-----END OPENSSH PRIVATE KEY-----\n";

static const char key_line[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOBNzUkjVQ9pn4a+aUUurRFYoIzwAQ5DInUigrdU4bPH "
    "alice@example\n";

#define KEY_FINGERPRINT "SHA256:HzToTnHhrnvmk6lK5du2vgljwJoVq5oHcLI7BB8naOc"

#define MESSAGE "hello magicbiz"

static const char sig[] = "-----BEGIN SSH SIGNATURE-----\n"
                          "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg4E3NSSNVD2mfhr5pRS6tEVigjP\n"
                          "ABDkMidSKCt1Ths8cAAAAIbWFnaWNiaXoAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk\n"
                          "MjU1MTkAAABAexV3POfc2l1EQElUl15ppnk4qHGTNGPied02LN4E/mxFKnYdR5GqAJMs/9\n"
                          "BoiTsS3kWkltM4Bf9I3OQaXCERDA==\n"
                          "-----END SSH SIGNATURE-----\n";

static const char sig_sha256[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg4E3NSSNVD2mfhr5pRS6tEVigjP\n"
    "ABDkMidSKCt1Ths8cAAAAIbWFnaWNiaXoAAAAAAAAABnNoYTI1NgAAAFMAAAALc3NoLWVk\n"
    "MjU1MTkAAABAVBO2WEw22pYte1NwgqaVtoJgFmvGJdrRpVIOPdnPNevlOPSBXwr4PM/MtB\n"
    "IlAiRG81sfqXHjRH+BR4+qmYpnCw==\n"
    "-----END SSH SIGNATURE-----\n";

static const char sig_rsa[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAARcAAAAHc3NoLXJzYQAAAAMBAAEAAAEBALPwg+rvLVymM8DmRz75Jh\n"
    "VYIxXF17o0zlYeWxUOJTKyuegRITse02Dr2PYKBtcgp9VTkphQfUOl5Fh91MWhUlvu0e/8\n"
    "/LGLd4B5B2X5JHCVCj+/Q97DYs8hSNHWFf4pxcqt87fbEYqF1MwZIenjVEU3VAb9AqK27F\n"
    "szMyIN+RduY8ud2KpKcg/JU+hZfrwrarZ9GyQB5Uupgj16pgFqIbWNHIcODRisYyCyqmeF\n"
    "2FIAvJRNdfdWakRDuy7EsyTDulZXheMsu0a1/QMy6L/wZQXgEGyQZfesQ0N9VoYM4AnK6c\n"
    "24nLCQoBHSoGVPHv9sCh1Z+vyedme8tCvkitGRfucAAAAIbWFnaWNiaXoAAAAAAAAABnNo\n"
    "YTUxMgAAARQAAAAMcnNhLXNoYTItNTEyAAABAG2oTlhsILaKyIr6/ifqHBc1aRbJEuFG3/\n"
    "7a77a8QzErBy3dP0aKt70ILSbOg6R5S/JETKeSq5NCpAHpR87FOV58SswfVhIgRvstvvUu\n"
    "TmX/G5j2c8yIyOR0iKM7N/zmLfmUUd+83D/ZaAD2W2IZpyxl7rbzm511lp+7WpyjfGoqGC\n"
    "OC60JgfAmRKVbgyUcJsLtEeZevtTG+BXvYpdDkWuwqlGQ2B/VPIq5mh6+Z4GQtgvu8CZTJ\n"
    "JGiNfg+7gXnJRCUOOj/YcUunGtb3segupejdozHgHRRkRTxcyTxygMbONxaqygSRRcAoE/\n"
    "X2TJ/168h9VoliyqlrYCPp9R0zpoA=\n"
    "-----END SSH SIGNATURE-----\n";

static const char sig_ecdsa[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE\n"
    "EEHu9IGC54uesW0f2L2OyIMUgHi9LCgz5/nGJqECX9SeL5bShAIj55NRTVUcI5R97N9vQq\n"
    "NXmwcYzOldTpZpcwRwAAAAhtYWdpY2JpegAAAAAAAAAGc2hhNTEyAAAAZAAAABNlY2RzYS\n"
    "1zaGEyLW5pc3RwMjU2AAAASQAAACEAu/V48x+w/1XaBk8KtfqN+zISmbWuanNahtvnMrk4\n"
    "NaMAAAAgRUe9qcm7Lpaa6CTME7SEzc0x7QdVVaFB5ZJNNJyRN3o=\n"
    "-----END SSH SIGNATURE-----\n";

static const char key_encrypted[] =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAl7So8H6\n"
    "Ciu1o9lBJfJo83AAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIFQteIm8hIJrgqCU\n"
    "WTU8ifUqM4s5zw6/vqqcMJu8bUWDAAAAkKXhm4zfb3T++igMyzxO3By1cRM1KmKdAwHK2Z\n"
    "7CY1c5vky+ySowY7pfHRBhQjBUwSSyVnf+VCJIefKwl9QoWfXFzWVPk6g3C3wCrH2ZY8Na\n"
    "Tj4z4KPhobnGFiFKNdBZcnhBQNRafZ+8BcjJKiv607+4dj0mZuE1CkjAhCKEhYymm3bJfE\n"
    "DGP8CF4ypQ3wfgMA==\n"
    "-----END OPENSSH PRIVATE KEY-----\n";

static const char key_rsa[] =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAABFwAAAAdzc2gtcn\n"
    "NhAAAAAwEAAQAAAQEAs/CD6u8tXKYzwOZHPvkmFVgjFcXXujTOVh5bFQ4lMrK56BEhOx7T\n"
    "YOvY9goG1yCn1VOSmFB9Q6XkWH3UxaFSW+7R7/z8sYt3gHkHZfkkcJUKP79D3sNizyFI0d\n"
    "YV/inFyq3zt9sRioXUzBkh6eNURTdUBv0CorbsWzMzIg35F25jy53YqkpyD8lT6Fl+vCtq\n"
    "tn0bJAHlS6mCPXqmAWohtY0chw4NGKxjILKqZ4XYUgC8lE1191ZqREO7LsSzJMO6VleF4y\n"
    "y7RrX9AzLov/BlBeAQbJBl96xDQ31WhgzgCcrpzbicsJCgEdKgZU8e/2wKHVn6/J52Z7y0\n"
    "K+SK0ZF+5wAAA7gMxuCMDMbgjAAAAAdzc2gtcnNhAAABAQCz8IPq7y1cpjPA5kc++SYVWC\n"
    "MVxde6NM5WHlsVDiUysrnoESE7HtNg69j2CgbXIKfVU5KYUH1DpeRYfdTFoVJb7tHv/Pyx\n"
    "i3eAeQdl+SRwlQo/v0Pew2LPIUjR1hX+KcXKrfO32xGKhdTMGSHp41RFN1QG/QKituxbMz\n"
    "MiDfkXbmPLndiqSnIPyVPoWX68K2q2fRskAeVLqYI9eqYBaiG1jRyHDg0YrGMgsqpnhdhS\n"
    "ALyUTXX3VmpEQ7suxLMkw7pWV4XjLLtGtf0DMui/8GUF4BBskGX3rENDfVaGDOAJyunNuJ\n"
    "ywkKAR0qBlTx7/bAodWfr8nnZnvLQr5IrRkX7nAAAAAwEAAQAAAQAPYO/SspoPZZBdx7Cb\n"
    "eWLKXIvfGVdx2CqHDLV0drmHfDlMVA522uXDo6nu2UuICQf0a7NHO6CBGXALKhyhvsMRuA\n"
    "xkSkcfNiVtVaq5XzzrNv8Mags3F5QzJ2FDDIeOVJai1xF8i1y+mJKSgQFiLSYve5Doaf5W\n"
    "1shw66Qj9crDYuynpZX7skb/JrKMGeG2Sel6s3pHnbod7tgHhLv2XrmVXbGf+u4eivmg/8\n"
    "iglEIviRAu9nlMyJEY9sLrqXxBm/dhlpavzBYnMv6LbkUREWNKz9z0c3loHbsnH/wYJ+D8\n"
    "27WI3Thlch2se5lEsxLqv9ScOSQ8VX4frZrUZBl7UWXlAAAAgHJoaILSNboMLWcmVIIes/\n"
    "TP9jcmHiGupTw2kaLjNtUoOZ32aaTGeY4GMbSW293293IIZ16wKPBwu0+pc+XS5sHWYxnX\n"
    "mx7K0yxzHiqPUilkf60WsDmOQGuIBucXPWoitxoFE5Zlqs1bC82Jb6MfHvrSs/wjWVGaoy\n"
    "+ivVd7fG1XAAAAgQDiZDY/usNHbo+ZOONmZVHe6f/goI/r/t08ho3vZ13ITPV3q9w9C6+8\n"
    "IKbbp2Co4pgKMbMClmgIVNun7qoSf+jPHT2RB4834rtrHqoIeA9YoxDiORPqUeOAP8plLp\n"
    "bEMF9RQh+WbCBwp8dBf5oA+MxCKtmpMCXp8mU1t8TdFz4HBQAAAIEAy3kNCu7sA0vmrLOK\n"
    "NrW8HX4nNoxPxqjPoC+QyWGzcLyXuHaWmEL9ixk9tiEsj+eOMATNZkXAJHQIcXlqGq3Rfx\n"
    "krnc2aFnCvgvNf1VWTzlzztZBz9y719YhMJnt0gKfSVmRVVNld3Bj5fRgyE49Yo+/kZkxl\n"
    "TSBpcLoljMVWufsAAAADcnNh\n"
    "-----END OPENSSH PRIVATE KEY-----\n";

static const char cert_options[] =
    "certificate version 0.1\n"
    "pusher SHA256:HzToTnHhrnvmk6lK5du2vgljwJoVq5oHcLI7BB8naOc  1795239425 +0000\n"
    "pushee ../r.git\n"
    "nonce 1795239425-f390dd4c33df225443828e7ba8882e0e504373aa\n"
    "push-option work=0123456789abcdef\n"
    "push-option two\n"
    "\n"
    "0000000000000000000000000000000000000000 06382e34562ba148054ded73bc9a007623e6045a "
    "refs/heads/main\n"
    "0000000000000000000000000000000000000000 06382e34562ba148054ded73bc9a007623e6045a "
    "refs/for/main\n"
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg4E3NSSNVD2mfhr5pRS6tEVigjP\n"
    "ABDkMidSKCt1Ths8cAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n"
    "AAAAQOaMsoWhRypqxtxuGfoYwbg9UUdCihGwhnWHvCfoULBe4hjOv/wRb1GlXhjTPpFly/\n"
    "b3Bl5J670PehNWa50xjgM=\n"
    "-----END SSH SIGNATURE-----\n";

static const char cert_delete[] =
    "certificate version 0.1\n"
    "pusher SHA256:HzToTnHhrnvmk6lK5du2vgljwJoVq5oHcLI7BB8naOc  1795239425 +0000\n"
    "pushee file:///tmp/signvec/r.git\n"
    "nonce 1795239425-4a1e5fef22195b02a278849defc5d81ed8b138b1\n"
    "\n"
    "06382e34562ba148054ded73bc9a007623e6045a 0000000000000000000000000000000000000000 "
    "refs/for/main\n"
    "0000000000000000000000000000000000000000 06382e34562ba148054ded73bc9a007623e6045a "
    "refs/heads/é\n"
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg4E3NSSNVD2mfhr5pRS6tEVigjP\n"
    "ABDkMidSKCt1Ths8cAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n"
    "AAAAQIyJS93eHMXoZViG5rqNWLBFzBASGVWtWFWxu6urIiBfe7J8KGE/eGsXV51T6i2Kvb\n"
    "hkaQO8ktQb9sepalk8WgA=\n"
    "-----END SSH SIGNATURE-----\n";

#define CERT_SHA256_ID "784852978a6a085045aa49d2bc77a48680194703b09c5b55a6653f79ad2b60c8"

static const char cert_sha256[] =
    "certificate version 0.1\n"
    "pusher SHA256:HzToTnHhrnvmk6lK5du2vgljwJoVq5oHcLI7BB8naOc  1795239941 +0000\n"
    "pushee ../r2.git\n"
    "nonce 1795239941-af85b1d445d252a9fae75abfd52d80a30de7b95894b2fad6a426ddbe28a27613\n"
    "\n"
    "0000000000000000000000000000000000000000000000000000000000000000 "
    "784852978a6a085045aa49d2bc77a48680194703b09c5b55a6653f79ad2b60c8 refs/heads/main\n"
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg4E3NSSNVD2mfhr5pRS6tEVigjP\n"
    "ABDkMidSKCt1Ths8cAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n"
    "AAAAQDFGW+jpY/1YRxGmJ3Sj6s1I/NKKVyYke2HzQlZHOUBQbxcVhcPnV7z5v713orZRZ0\n"
    "qgFfOJX9E4i5FKTorVgwk=\n"
    "-----END SSH SIGNATURE-----\n";

#endif
