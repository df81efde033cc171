# The session that the pages show: docs/record.py runs it line by line, in an empty folder, and fills in the output.
# `! ` marks a command that is meant to fail. Output comes from these lines only, so keep their total under two minutes.

# Small files to read.
mkdir books archive
for town in Ambury Corwick Delmere; do yes "$town lies on a river. Its market is held on Mondays." | head -n 2000 > books/$town.txt; done
for town in Ambury Corwick Delmere; do echo "The mill of $town was built of grey stone." > archive/$town.txt; done
echo "Winum is a modern company. Winum buys marble from abroad. The company is based in Karrano." > archive/Winum.txt
for number in $(seq 300); do printf 'Note %s is about the weather.\n\n' $number; done > notes.txt
mail() { seq $1 $2 | awk 'BEGIN { split("invoice payment refund parcel delivery courier", word, " "); print "body,folder" } { n = $1 % 6; print "A question about the " word[n + 1] " of order " 1000 + 7 * $1 "," (n < 3 ? "billing" : "shipping") }'; }; mail 1 160 > mails.csv; mail 161 200 > held-out.csv; mail 201 220 > inbox.csv
printf 'name: mine\ntask: squad\nmodel: {pretrained: runs/tiny-pretrain}\ndata: {path: demo}\ntrain:\n  max_steps: 100\n  learning_rat: 1.0e-3\n  seed: no\n' > broken.yaml

# The whole flow, and what its model can do. (Minutes: kept for the next time.)
llmkit demo
llmkit ask runs/demo/squad -q "Where is the main office of Winum?" -c "Winum is a modern company. Winum buys marble from abroad. The company is based in Karrano."
llmkit ask runs/demo/squad -q "Where is the main office of Winum?" -f archive/ --answers 1
llmkit eval runs/demo/squad
llmkit eval --predictions runs/demo/squad/predictions.jsonl --data demo --task squad --json
llmkit compare runs/demo/squad runs/demo/squad-from-scratch
llmkit report runs/demo/squad runs/demo/squad-from-scratch -o report.html
llmkit audit runs/demo/squad --part contamination -o audits/demo
llmkit audit runs/demo/squad --part robustness -o audits/demo
llmkit audit runs/demo/squad --part fairness -o audits/demo
llmkit export runs/demo/squad -o exported/demo-squad --int8 --examples 200
llmkit push runs/demo/squad jane/demo-squad --dry-run

# The same in small, a command a page.
llmkit tokenize -c demo -o data/demo tokenizer.vocab_size=2000
! llmkit tokenize -c demo -o data/demo tokenizer.vocab_size=3000
llmkit tokenize -c books/ -c notes.txt,documents=blank_line,weight=2 -o data/mine tokenizer.vocab_size=300
ls data/mine
llmkit pretrain -r tiny/pretrain corpus.path=data/demo --dry-run
llmkit pretrain -r tiny/pretrain corpus.path=data/demo
llmkit pretrain -r tiny/pretrain corpus.path=data/demo --resume
llmkit finetune -r tiny/squad
ls runs/tiny-squad
ls runs/tiny-squad/model
head -n 1 runs/tiny-squad/log.jsonl
llmkit finetune -r tiny/classification data.train=mails.csv data.validation=held-out.csv data.text_column=body data.label_column=folder train.max_steps=100 -o runs/mails
llmkit predict runs/mails inbox.csv -o labels.jsonl
head -n 2 labels.jsonl
! llmkit finetune -r tiny/squad train.learning_rat=1e-3 train.seed=no
llmkit verify resume -r tiny/pretrain corpus.path=data/demo
llmkit verify packing -r tiny/pretrain corpus.path=data/demo
llmkit recipes list
llmkit recipes show tiny/squad
llmkit recipes copy tiny/squad mine.yaml
! llmkit recipes check broken.yaml
llmkit tasks
llmkit doctor
