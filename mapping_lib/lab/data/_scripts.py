"""The letters of thirteen scripts that matplotlib's DejaVu Sans can draw, split by script.

All letters that Unicode doesn't compose of others, without the Latin and Cyrillic extensions from
U+1D00 on, where the outlines, scaled to one size, differ from those of every letter before them by
at least 0.4 of their ink: Α and А look like A, so they aren't here. A test draws and compares them.
"""

SCRIPTS: dict[str, dict[str, str]] = {
    "train": {
        "Latin": (
            "ABCDEFHIJKMNOPQRSTUVWXYZabcdefgjkmnprtyÆÐØÞßæðþđħŁŊŒœƀƁƄƆƇƈƊ"
            "ƋƐƑƒƔƕƖƗƘƛƜƝƢƣƤƦƧƩƪƫƮƲƳƴƷƸƺƻƼƾǁǂǶǷȜȡȢȣȤȥȴȵȶȸȹȺȻȾȿɀɁɂɆɇɈɉɊɋɍɐ"
            "ɕɖɗɘɚɜɝɞɠɤɥɦɧɪɬɭɮɯɰɱɲɳɷɸɹɺɻɼɾɿʁʂʃʅʆʇʉʊʍʐʑʒʔʕʖʗʚʝʞʟʣʤʥʦʧʨʩʪʫʬ"
            "ʭʮʯ"
        ),
        "Greek": "ͰͲͳͶΦΨαβζθμνξπςσφχωϏϗϘϙϚϞϟϠϡϺϻϼ",
        "Cyrillic": (
            "ЂЉЊЋЏДЖКЛЦЧЩЪЫЮЯгпфыьђњћѢѣѤѦѨѪѬѮѰѱѴѸѹѺѼѾҀҊҍҎҐҒҔҖҘҚҞҟҠҢҤҦҨҲҴҵ"
            "ҶҹҼҾҿӄӅӇӉӋӍӎӶӺӻӼӿԂԃԄԅԆԇԈԉԎԏԒԔԕԖԗԘԙԠԣԥ"
        ),
        "Canadian syllabics": (
            "ᐂᐄᐅᐆᐊᐋᐌᐍᐎᐏᐑᐒᐓᐔᐕᐗᐘᐙᐚᐝᐞᐟᐠᐡᐢᐣᐤᐥᐦᐨᐩᐪᐫᐬᐮᑀᑁᑂᑃᑈᑉᑍᑏᑑᑕᑖᑗᑘᑙᑚᑛᑜᑝᑞᑟᑠᑡᑢᑣᑤ"
            "ᑩᑫᑬᑮᑰᑱᑲᑳᑴᑵᑷᑸᑹᑺᑻᑼᑽᑿᒀᒁᒂᒄᒆᒈᒍᒔᒣᒤᒦᒨᒩᒫᒬᒭᒮᒯᒰᒱᒲᒳᒴᒵᒷᒸᒹᒺᒽᓀᓁᓂᓃᓄᓅᓇᓈᓉᓊᓋᓍᓔ"
            "ᓙᓞᓟᓠᓡᓢᓣᓤᓥᓧᓩᓪᓬᓭᓮᓯᓰᓱᓲᓳᓴᓵᓶᓷᓸᓹᓺᓻᓼᓽᓿᔀᔁᔂᔃᔄᔐᔑᔒᔓᔔᔕᔖᔗᔘᔙᔚᔛᔜᔝᔞᔟᔠᔡᔢᔣᔤᔥᔦᔧ"
            "ᔨᔩᔪᔫᔬᔭᔮᔯᔰᔱᔲᔳᔴᔵᔶᔷᔸᔹᔺᔻᔼᔽᕅᕉᕌᕍᕎᕏᕐᕒᕓᕔᕕᕖᕗᕘᕙᕚᕛᕝᕠᕢᕧᕴᕵᕶᕷᕸᕹᕾᕿᖀᖁᖂᖃᖄᖅᖎᖏᖐ"
            "ᖑᖒᖓᖔᖕᖖᖠᖢᖣᖤᖥᖧᖨᖩᖪᖬᖭᙇᙯᙰᙱᙲᙳᙴᙵᙶ"
        ),
    },
    "validation": {
        "Georgian": ("აბგდეზთიკლმნპჟრტუფქღცჭჯჰჱჲჴჵჶჷჸჹჺⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴋⴌⴍⴎⴏⴐⴑⴒⴓⴕⴗⴘⴙⴝⴟⴡⴢⴣⴤⴥ"),
    },
    "test": {
        "Armenian": "ԱԲԳԵԶԷԸԹԺԻԽԾԿՀՁՃՄՅՆՇՊՌՎՒՔՖՙեէըթժխկձճմնչջռփքֆ",
        "Hebrew": "אבגדזיךלמנעףץצקרשתװ",
        "Arabic": ("ءبةتثجخدذرزسشصضطعغفقكلمنوىيٮٯٹٻټٽځڈډڋڏڑڒړڔڕژښڞڠڡڢڣڤڥڨکڪڭڮگڲڳڴڵڶڸڹڻڽھۆۈێې"),
        "N'Ko": "ߌߍߐߑߒߓߔߕߖߗߘߙߚߛߜߝߞߟߡߢߤߴ",
        "Lao": "ກຂຄງຈຊຍຕຖທນບປຜຝພມຢຣລວສຫຮຯະາຽເແໂໃໄໆ",
        "Ogham": "ᚂᚃᚄᚅᚆᚇᚈᚉᚊᚋᚌᚍᚎᚏᚑᚒᚓᚔᚖᚗᚘᚙᚚ",
        "Tifinagh": "ⴰⴱⴳⴻⴼⴽⴾⴿⵂⵃⵄⵆⵈⵋⵌⵐⵒⵓⵕⵖⵗⵘⵚⵞⵢⵣⵤ",
        "Old Italic": "𐌀𐌂𐌃𐌄𐌇𐌊𐌋𐌌𐌍𐌎𐌐𐌒𐌓𐌔𐌕𐌖𐌘𐌙𐌚𐌛",
    },
}
