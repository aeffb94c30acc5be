/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Signatures on which libraries disagree, and what the one rule says: S < L; A and R canonical and
 * not of small order; the equation without cofactor. The cases are those of Chalkias, Garillot and
 * Nikolaenko, "Taming the many EdDSAs" (2020); but for the first, which is RFC 8032's, they were
 * computed for this table by group arithmetic of its own. "Both equations" are S B = R + k A and
 * the same times 8, A and R decoded without further checks.
 */
#ifndef MB_ED25519_VECTORS_H
#define MB_ED25519_VECTORS_H

static const struct ed25519_vector {
    const char *what;
    int holds;
    const char *message, *public_key, *signature; /* hex */
} ed25519_vectors[] = {
    {"RFC 8032, 7.1, test 2", 1, "72",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"A of order 8; both equations hold", 0, "6f6e652072756c652032",
     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "2e77a7db3b2f65a47efd3cf9bbe5f05486e88756c8cc06c7691f6d5679727502"},
    {"R the neutral element; both equations hold", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "0100000000000000000000000000000000000000000000000000000000000000"
     "0d88ecac8bd2c3f3b6efa41f437d5124145bb2be51e493acfdbb82a624c5f40b"},
    {"R of order 8; the cofactored equation alone holds", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
     "b4bcf722bc5825b795bae5653d4b9453016204324bb7f156f27656fa55365806"},
    {"A of mixed order; the cofactored equation alone holds", 0, "6f6e652072756c652030",
     "99555efe5dbf5b50b6fb4d8c38ee05c4ea8a97011c08e11366e8c8c00e8ce5d5",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "92a9eadfd08215756b283c2499a5c6208e60e7bea081d8d3f6d667e2a6cce90d"},
    {"A of mixed order; both equations hold", 1, "6f6e652072756c65203136",
     "99555efe5dbf5b50b6fb4d8c38ee05c4ea8a97011c08e11366e8c8c00e8ce5d5",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "30eda1101e1fe98bf934e5b85d33345145b4a498001f172f564230a1ba713300"},
    {"R of mixed order; the cofactored equation alone holds", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "5b61c2e3b93e6c06450f327ea72cdfeb8cde6aa020d2dd827ab3f86e708c8393"
     "806c8d3dd4c5a65864629d24411a55cb69b59dbafeb904f847ef6b1e089c3a0a"},
    {"A and R of mixed order; both equations hold", 1, "6f6e652072756c65203133",
     "99555efe5dbf5b50b6fb4d8c38ee05c4ea8a97011c08e11366e8c8c00e8ce5d5",
     "5b61c2e3b93e6c06450f327ea72cdfeb8cde6aa020d2dd827ab3f86e708c8393"
     "759436ba4a08bd7efe4e9fc7ae0bea33a000f52bfd50ab4575cd7a61e2c8110e"},
    {"S < L; both equations hold", 1, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "f4520f0268e46b5d3d27aad493c5c77c3f18e4e2f7e31935abe27f6b60c6fd06"},
    {"the same, S + L", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "e126055f82477eb513c4a17772bfa6913f18e4e2f7e31935abe27f6b60c6fd16"},
    {"the same, S + 8L", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "5cf2bde93afdfe1df00d67ec8894bf234018e4e2f7e31935abe27f6b60c6fd86"},
    {"A not canonical: y = p + 1, the neutral element", 0, "6f6e652072756c65",
     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "2e77a7db3b2f65a47efd3cf9bbe5f05486e88756c8cc06c7691f6d5679727502"},
    {"A not canonical: x = -0", 0, "6f6e652072756c65",
     "0100000000000000000000000000000000000000000000000000000000000080",
     "3e54c441927f9f0ee5e13e34f0b0404c5043651a8f4b7ef087a1c42262a85d0a"
     "2e77a7db3b2f65a47efd3cf9bbe5f05486e88756c8cc06c7691f6d5679727502"},
    {"R not canonical: y = p + 1, the neutral element", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
     "f1ccfe06a546d0bcb00673cb0bb9137160b7b9c00a1f53ee9b80e6090995ac0b"},
    {"R not canonical: x = -0", 0, "6f6e652072756c65",
     "88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488",
     "0100000000000000000000000000000000000000000000000000000000000080"
     "f2c089d32ddbb418dc637192e7ef1453df51b5ba2ba83c681909d24fdd8ba40e"},
};

#endif
